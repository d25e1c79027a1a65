// Who uses this page: the name in the bar, and login and logout behind it.

import { element } from "./elements.js";
import { login, logOut, onSession } from "./session.js";

/** @param {HTMLElement} place in the bar */
export function wireAccount(place) {
  onSession(({ name, role, problem }) => {
    if (name) {
      const out = element("button", { type: "button", className: "plain", textContent: "Log out" });
      out.onclick = () => logOut();
      const who = element("button", { type: "button", className: "plain who", textContent: name });
      who.title = `${role}: change your password`;
      who.onclick = () => import("../login/password.js").then(({ showPassword }) => showPassword(name));
      place.replaceChildren(who, out);
    } else {
      const enter = element("button", { type: "button", className: "plain", textContent: "Log in", title: problem });
      enter.onclick = () => login();
      place.replaceChildren(enter);
    }
  });
}
