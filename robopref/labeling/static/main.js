/** Starts the page: who is signed in, which of the pages it is, and what all of them share. */

import { AdjudicatePage } from "./adjudicate.js";
import { ApiError, LostConnectionError, call, pause, speaker } from "./api.js";
import { ComparePage } from "./compare.js";
import { button, h, say, toast } from "./dom.js";
import { Help } from "./help.js";
import { addKeys } from "./keys.js";
import { LabelPage } from "./label.js";
import { Outbox } from "./outbox.js";
import { ProgressPage } from "./progress.js";
import { SignInPage, signIn, takeFromAddress } from "./signin.js";
import { WhoPage } from "./who.js";

const PAGES = {
  "/": ["Label", LabelPage], "/progress": ["Progress", ProgressPage],
  "/adjudicate": ["Adjudicate", AdjudicatePage], "/compare": ["Compare", ComparePage],
};

class App {
  constructor() {
    this.main = document.getElementById("main");
    this.help = new Help();
    this.outboxes = new Map();  // By annotator: what one of them has not sent stays theirs.
    this.connection = h("p", { class: "connection", role: "status" });
    addKeys({ "?": () => this.help.open(), "Shift+?": () => this.help.open() });
    window.addEventListener("popstate", () => this.route());
    window.addEventListener("online", () => this.outbox?.flush());
    window.addEventListener("beforeunload", (event) => {
      if ([...this.outboxes.values()].some(({ size }) => size)) event.preventDefault();
    });
    speaker.onother = () => this.tellOther();
  }

  async start() {
    this.project = await this.readProject();
    document.title = this.project.title;
    const link = takeFromAddress();
    const { annotator } = this.project;
    const wanted = link?.annotator || annotator;
    if (!wanted) this.askWho({ token: link?.token });
    else if (wanted === annotator) this.enter(annotator);
    else if (annotator) this.askWhether(annotator, link);
    else await this.followLink(link);
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

  /** Sign in by a link; whoever was signed in stays so if that fails. */
  async followLink(link, annotator = null) {
    let name = annotator;
    try {
      name = await signIn(link.annotator, link.token);
    } catch (error) {
      if (!name) return this.askWho({ ...link, error });
      toast(error.message, { urgent: true, seconds: 10 });
    }
    return this.enter(name);
  }

  /** Ask before a link changes who is signed in: anybody's page can hold one. */
  askWhether(annotator, link) {
    this.show(new WhoPage(`You are signed in as ${annotator}. Go on as ${link.annotator}?`,
      "This browser then answers under the other name, in all its windows.", {
        yes: [`Go on as ${link.annotator}`, () => this.followLink(link, annotator)],
        no: [`Stay ${annotator}`, () => this.enter(annotator)],
      }));
  }

  /** Tell that another page of this browser has signed somebody else in. */
  async tellOther() {
    const before = this.annotator;
    if (!before) return;
    this.leave();
    this.project = await this.readProject();
    const { annotator } = this.project;
    if (!annotator) return this.askWho({ annotator: before });
    if (annotator === before) return this.enter(before);
    const kept = this.outboxes.get(before).size
      ? ` What ${before} answered and is not sent yet is kept until ${before} is back.` : "";
    return this.show(new WhoPage(`${annotator} is signed in now`,
      `Another window of this browser has signed ${annotator} in; here it was ${before}.${kept}`, {
        yes: [`Go on as ${annotator}`, () => this.enter(annotator)],
        no: ["Sign in anew", () => this.askWho({ annotator: before })],
      }));
  }

  /** Ask for a name; `error` is what came of a link that gave one. */
  askWho({ annotator = null, token = null, error = null } = {}) {
    const page = new SignInPage(this.project, (name) => this.enter(name));
    page.name.value = annotator ?? "";
    page.token.value = token ?? "";
    this.show(page);
    if (error) page.tell(error);
  }

  show(page) {
    this.closePage();
    this.page = page;
    this.drawHeader();
    this.put(page);
  }

  closePage() {
    this.page?.close();
    this.page = null;
    this.main.replaceChildren();
  }

  /** Speak for nobody any more. */
  leave() {
    this.annotator = this.outbox = speaker.name = this.kept = null;
    this.connection.textContent = "";
    this.closePage();
  }

  enter(annotator) {
    this.annotator = speaker.name = annotator;
    if (!this.outboxes.has(annotator)) this.outboxes.set(annotator, this.makeOutbox(annotator));
    this.outbox = this.outboxes.get(annotator);
    if (this.outbox.size) this.outbox.flush();
    this.route();
  }

  makeOutbox(annotator) {
    const outbox = new Outbox(annotator, {
      onchange: (state) => { if (outbox === this.outbox) this.tellOutbox(state); },
      onrefused: (message) => toast(message, { urgent: true, seconds: 15 }),
      onsignedout: () => this.signedOut(),
    });
    return outbox;
  }

  signedOut() {
    if (!this.annotator) return;
    this.leave();
    toast("You were signed out. Unsent answers are kept until you are back.", { urgent: true });
    this.askWho();
  }

  async signOut() {
    const { annotator } = this;
    await this.outbox.flush();
    await this.page?.leave?.();  // Who is signed out can give nothing back.
    if (this.annotator !== annotator) return;  // It was told that somebody else is signed in.
    try {
      await call("DELETE", "/api/session", undefined, { annotator });
    } catch (error) {
      this.handle(error);
      return;
    }
    this.leave();
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
    if (!this.annotator) return;  // What is asked first stays.
    if (location.pathname === "/help") this.help.open();
    const [, Page] = PAGES[location.pathname] ?? PAGES["/"];
    this.closePage();  // Before the new one listens to keys.
    this.show(new Page(this));
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
    this.kept = trouble && `${trouble} ${answers} kept and sent again in ${retryS} s.`;
    this.setLost(null);
  }

  /** Tell that the connection is lost, or with null that it is back. */
  setLost(words) {
    const told = words ?? this.kept ?? "";
    if (!told && this.connection.textContent) say("The connection is back.");
    this.connection.textContent = told;
  }

  /** Tell what went wrong with a call; return whether trying again may help. */
  handle(error) {
    if (error instanceof ApiError && error.status === 401) {
      this.signedOut();
      return false;
    }
    if (error instanceof ApiError && error.isOfAnother) return false;  // It was told.
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
