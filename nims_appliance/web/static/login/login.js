// The login page: where somebody is sent who may not see anything yet, or not this page.

import { byId, find } from "../shared/elements.js";
import { session } from "../shared/session.js";
import { mountShell } from "../shared/shell.js";
import { makeForm } from "./form.js";

/** Goes where the login was asked for: a page of this server, nothing else. */
function leave() {
  const wanted = new URL(new URLSearchParams(location.search).get("next") ?? "/", location.origin);
  location.replace(wanted.origin === location.origin ? wanted.pathname + wanted.search : "/");
}

mountShell({ follow: false });
session().then(
  ({ name, problem }) => {
    // A link from elsewhere came without the cookie that this browser has.
    if (name) return leave();
    const form = makeForm({ why: problem, onLogin: leave });
    byId("login").replaceChildren(form);
    find(form, "[type=password]", HTMLInputElement).focus();
  },
  () => byId("login").replaceChildren("The server does not answer: load the page again."),
);
