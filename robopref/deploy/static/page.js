// The operator's page: buttons and keys go to the program, what it says comes back.

const token = location.hash.slice(1);
const ARROWS = { ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right" };
const STEERING = new Set(["u", "j", "o", "c"]);
const POLL_MS = 200;
const MOST_LINES = 200;
const find = (id) => document.getElementById(id);
const buttons = new Map(
  [...document.querySelectorAll("[data-word]")].map((button) => [button.dataset.key, button]),
);
let since = 0;

async function ask(path, body) {
  const headers = { Authorization: `Bearer ${token}` };
  const options = { headers, cache: "no-store", signal: AbortSignal.timeout(3000) };
  if (body !== undefined) {
    Object.assign(headers, { "X-Robopref": "1", "Content-Type": "application/json" });
    Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  }
  const answer = await fetch(path, options);
  if (!answer.ok) {
    throw new Error(answer.status === 403
      ? "This address has not the right token. Open the one that the program printed."
      : `The program answered ${answer.status}.`);
  }
  return answer.json();
}

function complain(error) {
  const isGone = error instanceof TypeError || error.name === "TimeoutError";
  find("trouble").textContent = isGone
    ? "NOT CONNECTED: these buttons do nothing. Use the terminal or the emergency stop."
    : error.message;
  find("trouble").hidden = false;
}

async function send(path, body) {
  try {
    await ask(path, body);
  } catch (error) {
    complain(error);
  }
}

function show({ lines, next, status }) {
  since = next;
  for (const line of lines) {
    const item = document.createElement("li");
    item.textContent = line;
    find("lines").prepend(item);
  }
  while (find("lines").children.length > MOST_LINES) find("lines").lastChild.remove();
  if (status) {
    find("episode").textContent = `${status.episode}, step ${status.step}`;
    find("acts").textContent = status.by_hand ? "you" : "the policy";
    find("speed").textContent = `${Math.round(100 * status.speed)} %`;
    find("decision").textContent = [status.decision, status.filter].filter(Boolean).join(": ");
    find("verdict").dataset.decision = status.decision;
  }
}

async function listen() {
  try {
    show(await ask(`api/state?since=${since}`));
    find("trouble").hidden = true;
  } catch (error) {
    complain(error);
  }
  setTimeout(listen, POLL_MS);
}

for (const button of buttons.values()) {
  button.addEventListener("click", () => {
    send("api/word", { word: button.dataset.word });
    // Space would press the button that was clicked last, and has to stop.
    button.blur();
  });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const steering = ARROWS[event.key] ?? (STEERING.has(event.key) ? event.key : null);
  if (steering) {
    event.preventDefault();
    send("api/key", { key: steering });
    return;
  }
  const button = buttons.get(event.key);
  if (button && !event.repeat) {
    event.preventDefault();
    send("api/word", { word: button.dataset.word });
  }
});

listen();
