// The row of results: a picture to click on for each, and buttons for what can be done with it.
const BUTTONS = [
  ["settings", "sliders", "Take the settings of"],
  ["download", "download", "Download"],
  ["remove", "times", "Remove from this row"],
];

function render({ model, el }) {
  el.classList.add("shelf");
  const row = document.createElement("div");
  row.className = "row";
  const none = document.createElement("p");
  none.textContent = "Results stand here. Each is saved in a folder, and is here again next time.";
  el.append(row, none);

  function card(item) {
    const made = document.createElement("div");
    made.className = "kept";
    const send = (action) => model.send({ action, name: item.name });
    const show = document.createElement("button");
    show.type = "button";
    show.className = "show";
    show.title = `${item.title}\n${item.facts}`;
    const image = document.createElement("img");
    image.src = item.thumbnail;
    image.alt = `${item.title}, ${item.facts}`;
    show.append(image);
    show.addEventListener("click", () => send("show"));
    const tools = document.createElement("div");
    for (const [action, icon, words] of BUTTONS) {
      const button = document.createElement("button");
      button.type = "button";
      button.title = words;
      button.setAttribute("aria-label", `${words} ${item.name}`);
      const sign = document.createElement("i");
      sign.className = `fa fa-${icon}`;
      button.append(sign);
      button.addEventListener("click", () => send(action));
      tools.append(button);
    }
    const facts = document.createElement("span");
    facts.textContent = item.facts;
    made.append(show, tools, facts);
    return made;
  }

  function draw() {
    const items = model.get("items");
    row.replaceChildren(...items.map(card));
    none.hidden = items.length > 0;
  }

  function receive(message, buffers) {
    if (!message.download) return;
    const data = buffers[0];
    const url = URL.createObjectURL(new Blob([data.buffer ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : data], { type: "image/png" }));
    const link = document.createElement("a");
    link.href = url;
    link.download = message.download;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  }

  model.on("change:items", draw);
  model.on("msg:custom", receive);
  draw();
  return () => {
    model.off("change:items", draw);
    model.off("msg:custom", receive);
  };
}

export default { render };
