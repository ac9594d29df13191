for (const root of document.querySelectorAll(".stylelab-scrubber:not([data-ready])")) {
  root.dataset.ready = "";
  root.dataset.lmSuppressShortcuts = "true"; // JupyterLab would take the arrow keys
  const pictures = [...root.querySelectorAll(".pictures img")];
  const slider = root.querySelector("input[type=range]");
  const layers = [...root.querySelectorAll("input[type=radio]")];
  const ticks = [...root.querySelectorAll(".ticks span")];
  const group = `scrubber-${Math.random()}`; // radio buttons of one name belong together
  for (const layer of layers) layer.name = group;
  const show = () => {
    const row = layers.findIndex((layer) => layer.checked);
    const shown = pictures[row * ticks.length + Number(slider.value)];
    for (const picture of pictures) picture.hidden = picture !== shown;
    root.querySelector("output").textContent = shown.alt;
    slider.setAttribute("aria-valuetext", ticks[slider.value].textContent);
  };
  root.addEventListener("input", show);
  root.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation(); // the book would turn its page
    const row = layers.findIndex((layer) => layer.checked) + step[0];
    if (layers[row]) {
      layers[row].checked = true;
      if (event.target.type === "radio") layers[row].focus();
    }
    slider.value = Number(slider.value) + step[1];
    show();
  });
  root.querySelector(".hint").textContent = "Arrow keys: ← → along the slider, ↑ ↓ from button to button.";
  show();
}
