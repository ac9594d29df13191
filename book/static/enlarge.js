// Every picture of a page opens large: click it, or press Enter on it. Escape closes it, so does a
// click beside it. A click on the large picture changes between all of it and its full size.
document.addEventListener("DOMContentLoaded", () => {
  const dialog = document.createElement("dialog");
  dialog.className = "enlarged";
  dialog.innerHTML =
    '<button type="button" class="close" aria-label="Close">×</button>' +
    '<div class="view" tabindex="0"><img alt=""></div><p></p>';
  document.body.append(dialog);
  const [view, large, text] = ["div", "img", "p"].map((name) => dialog.querySelector(name));
  const whole = () => Math.min(innerWidth / large.naturalWidth, innerHeight / large.naturalHeight, 1);

  const open = (picture) => {
    large.onload = () => view.classList.toggle("full", whole() < 0.5); // labels could not be read
    large.src = picture.closest("a")?.href ?? picture.src;
    large.alt = text.textContent = picture.alt;
    dialog.setAttribute("aria-label", picture.alt);
    dialog.showModal();
    view.focus(); // the arrow keys move the picture
  };

  for (const picture of document.querySelectorAll("article img")) {
    if (picture.closest(".stylelab-scrubber, .no-enlarge")) continue;
    const link = picture.closest("a");
    if (link && !link.matches(".image-reference")) continue; // it leads to a page
    let opener = link;
    if (!opener) {
      opener = document.createElement("button");
      opener.type = "button";
      opener.className = "enlarge";
      picture.replaceWith(opener);
      opener.append(picture);
    }
    opener.title = "Enlarge";
    opener.addEventListener("click", (event) => {
      event.preventDefault();
      open(picture);
    });
  }

  dialog.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation(); // Sphinx would take it, for words found in a search
    dialog.close();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === large) view.classList.toggle("full");
    else dialog.close();
  });
});
