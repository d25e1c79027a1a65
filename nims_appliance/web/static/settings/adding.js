// Adding a sonar: its name, its profile and where its bytes come from.

import { byId, element, find } from "../shared/elements.js";

/** @typedef {import("./form.js").Configuration} Configuration */

const form = byId("add", HTMLFormElement);
const nameInput = find(form, "[name=name]", HTMLInputElement);
const profileSelect = find(form, "[name=profile]", HTMLSelectElement);
const linkInput = find(form, "[name=link]", HTMLInputElement);

/**
 * Offers the known profiles; the link that a profile usually has is proposed.
 * @param {Configuration["profiles"]} profiles
 */
export function offerProfiles(profiles) {
  const chosen = profileSelect.value;
  const options = Object.entries(profiles).sort().map(([name, { title }]) => element("option", { value: name, textContent: title }));
  profileSelect.replaceChildren(...options);
  if (chosen in profiles) profileSelect.value = chosen;
  const propose = () => {
    if (!linkInput.value || linkInput.dataset.proposed === linkInput.value) {
      linkInput.value = linkInput.dataset.proposed = profiles[profileSelect.value]?.default_link ?? "";
    }
  };
  profileSelect.onchange = propose;
  propose();
}

/** @param {(changes: Record<string, any>) => Promise<string>} add  gives what is wrong */
export function wireAdding(add) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const key = `sonars.${nameInput.value.trim()}`;
    const problem = await add({ [`${key}.profile`]: profileSelect.value, [`${key}.link`]: linkInput.value.trim() });
    const complaint = find(form, ".error");
    complaint.textContent = problem;
    complaint.hidden = !problem;
    if (!problem) form.reset();
  });
}
