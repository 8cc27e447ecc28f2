/** Who is labelling: a name, and the token where the server wants one. */

import { ApiError, call } from "./api.js";
import { h, say } from "./dom.js";

export class SignInPage {
  /** @param {object} project @param {(annotator: string) => void} ondone */
  constructor(project, ondone) {
    this.title = "Sign in";
    this.project = project;
    this.ondone = ondone;
    this.name = h("input", {
      id: "name", type: "text", required: true, maxlength: 64, autocomplete: "username",
      autocapitalize: "none", spellcheck: "false",
    });
    this.token = h("input", { id: "token", type: "password", autocomplete: "current-password" });
    this.problem = h("p", { class: "problem", role: "alert" });
    this.element = h("form", { class: "card sign-in", onsubmit: (event) => this.submit(event) },
      h("h1", {}, "Who is labelling?"),
      h("p", { class: "muted" },
        "Your name is kept with your answers, so that you find them again and can take them back."),
      h("label", { for: "name" }, "Name"), this.name,
      project.needs_token ? [h("label", { for: "token" }, "Token"), this.token] : null,
      this.problem,
      h("button", { type: "submit", class: "primary" }, h("span", {}, "Start")));
  }

  start() {
    (this.name.value && this.project.needs_token ? this.token : this.name).focus();
  }

  async submit(event) {
    event.preventDefault();
    this.problem.textContent = "";
    try {
      this.ondone(await signIn(this.name.value.trim(), this.token.value));
    } catch (error) {
      this.tell(error);
    }
  }

  /** Say why nobody was signed in, and go to where that is mended. */
  tell(error) {
    const isOfToken = error instanceof ApiError && error.status === 403;
    const words = isOfToken && !this.token.value
      ? "This server asks for a token: whoever runs it has it." : error.message;
    this.problem.textContent = words;
    say(words, { urgent: true });
    if (error instanceof ApiError) (isOfToken ? this.token : this.name).focus();
  }

  close() {}
}

/** Sign in; return the name. */
export async function signIn(annotator, token) {
  const body = token ? { annotator, token } : { annotator };
  return (await call("POST", "/api/session", body)).annotator;
}

/** Return the name and token that the address carries, and take them out of it. */
export function takeFromAddress() {
  const address = new URL(location.href);
  const annotator = address.searchParams.get("annotator");
  const token = new URLSearchParams(address.hash.slice(1)).get("token");
  if (annotator === null && token === null) return null;
  address.searchParams.delete("annotator");
  address.hash = "";
  history.replaceState(null, "", address.pathname + address.search);
  return { annotator, token };
}
