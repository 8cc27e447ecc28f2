/** Starts the page: who is signed in, which of the pages it is, and what all of them share. */

import { AdjudicatePage } from "./adjudicate.js";
import { ApiError, LostConnectionError, call, pause } from "./api.js";
import { ComparePage } from "./compare.js";
import { button, h, say, toast } from "./dom.js";
import { Help } from "./help.js";
import { addKeys } from "./keys.js";
import { LabelPage } from "./label.js";
import { Outbox } from "./outbox.js";
import { ProgressPage } from "./progress.js";
import { SignInPage, signIn, takeFromAddress } from "./signin.js";

const PAGES = {
  "/": ["Label", LabelPage], "/progress": ["Progress", ProgressPage],
  "/adjudicate": ["Adjudicate", AdjudicatePage], "/compare": ["Compare", ComparePage],
};

class App {
  constructor() {
    this.main = document.getElementById("main");
    this.help = new Help();
    this.connection = h("p", { class: "connection", role: "status" });
    addKeys({ "?": () => this.help.open(), "Shift+?": () => this.help.open() });
    window.addEventListener("popstate", () => this.route());
    window.addEventListener("online", () => this.outbox?.flush());
    window.addEventListener("beforeunload", (event) => {
      if (this.outbox?.size) event.preventDefault();
    });
  }

  async start() {
    this.project = await this.readProject();
    document.title = this.project.title;
    const link = takeFromAddress();
    let annotator = this.project.annotator;
    if (link?.annotator) annotator = await this.signInByLink(link) ?? annotator;
    if (annotator) this.enter(annotator);
    else this.askWho(link?.token);
  }

  async readProject() {
    for (;;) {
      try {
        return await call("GET", "/api/project");
      } catch (error) {
        this.main.replaceChildren(h("div", { class: "message" },
          h("h2", {}, "The server does not answer"),
          h("p", {}, `${error.message} Trying again.`)));
        await pause(2);
      }
    }
  }

  async signInByLink({ annotator, token }) {
    try {
      return await signIn(annotator, token);
    } catch (error) {
      toast(error.message, { urgent: true, seconds: 10 });
      return null;
    }
  }

  askWho(token = null) {
    this.page?.close();
    this.page = new SignInPage(this.project, (annotator) => this.enter(annotator));
    if (token) this.page.token.value = token;
    this.drawHeader();
    this.put(this.page);
  }

  enter(annotator) {
    this.annotator = annotator;
    this.outbox = new Outbox(annotator, (state) => this.tellOutbox(state));
    this.outbox.onSignedOut = () => this.signedOut();
    if (this.outbox.size) this.outbox.flush();
    this.route();
  }

  signedOut() {
    if (!this.annotator) return;
    this.annotator = null;
    toast("You were signed out. Unsent answers are kept until you are back.", { urgent: true });
    this.askWho();
  }

  async signOut() {
    await this.outbox.flush();
    await this.page?.leave?.();  // Who is signed out can give nothing back.
    try {
      await call("DELETE", "/api/session");
    } catch (error) {
      this.handle(error);
      return;
    }
    this.annotator = null;
    this.askWho();
  }

  /** Follow a link to another page without loading everything anew. */
  follow(event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const { pathname } = event.currentTarget;
    if (pathname !== location.pathname) history.pushState(null, "", pathname);
    this.route();
  }

  route() {
    if (!this.annotator) return this.askWho();
    if (location.pathname === "/help") this.help.open();
    const [, Page] = PAGES[location.pathname] ?? PAGES["/"];
    this.page?.close();
    this.page = new Page(this);
    this.drawHeader();
    this.put(this.page);
    return undefined;
  }

  put(page) {
    this.main.replaceChildren(page.element);
    document.title = `${page.title} · ${this.project.title}`;
    page.start();
  }

  drawHeader() {
    const here = PAGES[location.pathname] ? location.pathname : "/";
    const links = Object.entries(PAGES).map(([path, [name]]) => h("a", {
      href: path, "aria-current": path === here ? "page" : null,
      onclick: (event) => this.follow(event),
    }, name));
    document.getElementById("header").replaceChildren(
      h("span", { class: "brand" }, h("img", { src: "/static/icon.svg", alt: "" }),
        h("span", { class: "brand-name" }, this.project.title)),
      this.annotator ? h("nav", { "aria-label": "Pages" }, links) : "",
      this.connection,
      this.annotator ? h("span", { class: "who", title: "Signed in as" }, this.annotator) : "",
      this.annotator ? button("Sign out", { class: "quiet", onclick: () => this.signOut() }) : "",
      button("Keys", { class: "quiet", key: "?", onclick: () => this.help.open() }));
  }

  tellOutbox({ waiting, trouble, retryS }) {
    const answers = waiting === 1 ? "1 answer is" : `${waiting} answers are`;
    this.setLost(trouble && `${trouble} ${answers} kept and sent again in ${retryS} s.`);
  }

  /** Tell that the connection is lost, or with null that it is back. */
  setLost(words) {
    if (!words && this.connection.textContent) say("The connection is back.");
    this.connection.textContent = words ?? "";
  }

  /** Tell what went wrong with a call; return whether trying again may help. */
  handle(error) {
    if (error instanceof ApiError && error.status === 401) {
      this.signedOut();
      return false;
    }
    if (error instanceof LostConnectionError) this.setLost("No connection. Trying again.");
    else if (error instanceof ApiError) this.setLost(`${error.message}`);
    else throw error;
    return true;
  }
}

const app = new App();
// For who wants to look inside, the tests among them.
window.robopref = app;
app.start();
