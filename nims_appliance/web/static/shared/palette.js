// Sets the palette before anything is painted; a plain script in the head, because modules come too late for that.

(() => {
  try {
    const palette = localStorage.getItem("nims.palette");
    if (palette === "day" || palette === "dusk" || palette === "night") document.documentElement.dataset.palette = palette;
  } catch {
    // Storage is switched off in this browser: the palette of the page stands.
  }
})();
