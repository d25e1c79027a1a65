// The style sheet of the login dialogs, for pages that do not have it.

const href = new URL("./login.css", import.meta.url).href;

/** Waits until it is there; a page without it is plain, not broken. */
export async function ready() {
  if ([...document.styleSheets].some((sheet) => sheet.href === href)) return;
  const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href });
  const loaded = new Promise((done) => (link.onload = link.onerror = done));
  document.head.append(link);
  await loaded;
}
