// Paints a mask on an image: mouse, finger and pen by pointer events, and a brush moved by keys.
const HISTORY = 40;
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const HELP =
  "Arrow keys move the brush, the space bar puts it down and lifts it, E erases or paints, " +
  "brackets change its size, Control and Z undoes.";

function button(text, title, action) {
  const made = document.createElement("button");
  made.className = "jupyter-button";
  made.textContent = text;
  made.title = title;
  made.type = "button";
  made.addEventListener("click", action);
  return made;
}

function range(text, title, least, most, value) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  Object.assign(input, { type: "range", min: least, max: most, title });
  input.value = value;
  label.append(text, input);
  return [label, input];
}

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "brush";
  root.dataset.lmSuppressShortcuts = "true"; // JupyterLab would take the keys
  const board = document.createElement("div");
  board.className = "board";
  const image = document.createElement("img");
  const canvas = document.createElement("canvas");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  const said = document.createElement("span");
  said.className = "said";
  said.setAttribute("role", "status");
  board.append(image, canvas);

  let width, height, mask, before, undone, at, pen, erasing, lastKey;

  const [sizeLabel, size] = range("Size", "Size of the brush", 2, 100, 30);
  const [softLabel, soft] = range("Soft", "Softness of the brush's edge", 0, 100, 50);
  const paint = button("Paint", "Paint (E changes to the eraser)", () => choose(false));
  const erase = button("Erase", "Erase (E changes to the brush)", () => choose(true));
  const undo = button("Undo", "Undo the last stroke (Control and Z)", () => back());
  const invert = button("Invert", "Paint what is not painted", () => {
    remember();
    mask = mask.map((value) => 255 - value);
    keep();
  });
  const clear = button("Clear", "Remove all paint", () => {
    remember();
    mask.fill(0);
    keep();
  });
  const tools = document.createElement("div");
  tools.className = "tools";
  tools.append(paint, erase, sizeLabel, softLabel, undo, invert, clear, said);
  root.append(board, tools);
  el.append(root);

  function choose(eraser) {
    erasing = eraser;
    paint.setAttribute("aria-pressed", String(!eraser));
    erase.setAttribute("aria-pressed", String(eraser));
    said.textContent = eraser ? "Eraser" : "Brush";
  }

  function load() {
    width = model.get("width");
    height = model.get("height");
    canvas.width = width;
    canvas.height = height;
    image.src = model.get("image");
    image.alt = model.get("label");
    canvas.setAttribute("aria-label", `Paint on: ${model.get("label")}. ${HELP}`);
    take();
  }

  function take() {
    const sent = model.get("pixels");
    const bytes = sent && sent.byteLength ? new Uint8Array(sent.buffer ?? sent, sent.byteOffset ?? 0, sent.byteLength) : null;
    mask = bytes && bytes.length === width * height ? bytes.slice() : new Uint8Array(width * height);
    before = [];
    at = at && at[0] < width && at[1] < height ? at : [width / 2, height / 2];
    pen = false;
    draw();
  }

  function remember() {
    before.push(mask.slice());
    if (before.length > HISTORY) before.shift();
  }

  function back() {
    if (!before.length) return;
    mask = before.pop();
    keep();
  }

  function keep() {
    draw();
    const painted = mask.some((value) => value > 0);
    const sent = painted ? mask.slice() : new Uint8Array(0);
    model.set("pixels", new DataView(sent.buffer));
    model.save_changes();
  }

  const radius = () => (Number(size.value) / 200) * Math.min(width, height);

  // From one point to another: each pixel takes the brush's value at its distance from the line.
  function stroke(from, to) {
    const r = Math.max(radius(), 1);
    const inner = Math.min(r * (1 - soft.value / 100), r - 0.7);
    const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    const length = dx * dx + dy * dy || 1;
    const left = Math.max(0, Math.floor(Math.min(from[0], to[0]) - r));
    const right = Math.min(width - 1, Math.ceil(Math.max(from[0], to[0]) + r));
    const top = Math.max(0, Math.floor(Math.min(from[1], to[1]) - r));
    const bottom = Math.min(height - 1, Math.ceil(Math.max(from[1], to[1]) + r));
    for (let y = top; y <= bottom; y++) {
      for (let x = left; x <= right; x++) {
        const [px, py] = [x + 0.5 - from[0], y + 0.5 - from[1]];
        const t = Math.min(1, Math.max(0, (px * dx + py * dy) / length));
        const distance = Math.hypot(px - t * dx, py - t * dy);
        const s = Math.min(1, Math.max(0, (r - distance) / (r - inner)));
        const value = Math.round(255 * s * s * (3 - 2 * s));
        const i = y * width + x;
        mask[i] = erasing ? Math.min(mask[i], 255 - value) : Math.max(mask[i], value);
      }
    }
  }

  function draw() {
    const context = canvas.getContext("2d");
    const shade = context.createImageData(width, height);
    const painted = mask.some((value) => value > 0);
    for (let i = 0; i < mask.length; i++) {
      shade.data.set([16, 18, 30, painted ? 0.72 * (255 - mask[i]) : 0], 4 * i);
    }
    context.putImageData(shade, 0, 0);
    for (const [colour, dashes] of [["#000", []], ["#fff", [4, 4]]]) {
      context.strokeStyle = colour;
      context.setLineDash(dashes);
      context.lineWidth = pen ? 2.5 : 1.2;
      context.beginPath();
      context.arc(at[0], at[1], Math.max(radius(), 1), 0, 2 * Math.PI);
      context.stroke();
    }
    undo.disabled = !before.length;
    clear.disabled = !painted;
  }

  function point(event) {
    const box = canvas.getBoundingClientRect();
    const scale = Math.min(box.width / width, box.height / height); // as object-fit: contain
    const [x, y] = [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
    return [x / scale + width / 2, y / scale + height / 2];
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault();
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    remember();
    pen = true;
    at = point(event);
    stroke(at, at);
    draw();
  });
  canvas.addEventListener("pointermove", (event) => {
    for (const each of event.getCoalescedEvents?.() ?? [event]) {
      const to = point(each);
      if (pen && canvas.hasPointerCapture(event.pointerId)) stroke(at, to);
      at = to;
    }
    draw();
  });
  function lift() {
    if (!pen) return;
    pen = false;
    keep();
  }
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("blur", lift);

  canvas.addEventListener("keydown", (event) => {
    const move = KEYS[event.key];
    const key = event.key.toLowerCase();
    if ((event.ctrlKey || event.metaKey) && key === "z") back();
    else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (move) {
      const far = event.shiftKey ? 1 : Math.max(2, radius() / 2);
      const to = [
        Math.min(width, Math.max(0, at[0] + far * move[0])),
        Math.min(height, Math.max(0, at[1] + far * move[1])),
      ];
      if (pen) stroke(at, to);
      at = to;
      draw();
    } else if (event.key === " ") {
      if (pen) {
        lift();
      } else {
        remember();
        pen = true;
        stroke(at, at);
        draw();
      }
      said.textContent = pen ? "Down" : "Lifted";
    } else if (key === "e") choose(!erasing);
    else if (key === "[" || key === "]") {
      size.value = Number(size.value) + (key === "[" ? -4 : 4);
      draw();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  size.addEventListener("input", draw);

  choose(false);
  load();
  const taken = () => {
    const sent = model.get("pixels");
    const same = sent.byteLength === mask.length && new Uint8Array(sent.buffer ?? sent, sent.byteOffset ?? 0).every((v, i) => v === mask[i]);
    if (!same && !(sent.byteLength === 0 && !mask.some((value) => value > 0))) take();
  };
  model.on("change:image change:width change:height", load);
  model.on("change:pixels", taken);
  return () => {
    model.off("change:image change:width change:height", load);
    model.off("change:pixels", taken);
  };
}

export default { render };
