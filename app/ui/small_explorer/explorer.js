import { documents, keepKey, send, takeKey } from "./client.js";

const part = (id) => document.getElementById(id);
let running = null; // the subscription that runs, if one does

function showKey() {
  part("key").value = takeKey();
  showStatus();
}

function showStatus() {
  part("status").textContent = part("key").value ? "" : "Paste an API key to run documents.";
}

function list(found) {
  for (const { name, text } of found) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", () => pick(button, text));
    part("documents").append(button);
  }
  part("documents").querySelector("button")?.click();
}

function pick(button, text) {
  for (const other of part("documents").children) other.removeAttribute("aria-current");
  button.setAttribute("aria-current", "true");
  part("document").value = text;
  part("variables").value = "";
}

async function run() {
  if (running) return stop();
  part("answer").textContent = "";
  part("run").disabled = true;
  try {
    const request = { query: part("document").value, variables: fields("variables") };
    const answer = await send(request, part("key").value.trim(), fields("headers"));
    if (Symbol.asyncIterator in answer) await follow(answer);
    else show(answer);
  } catch (error) {
    part("answer").textContent = error.message;
  } finally {
    part("run").disabled = false;
  }
}

function fields(id) {
  const text = part(id).value.trim();
  try {
    return text ? JSON.parse(text) : {};
  } catch (error) {
    throw new Error(`Not sent: the ${id} are not JSON. ${error.message}`);
  }
}

async function follow(answers) {
  running = answers;
  part("run").disabled = false;
  part("run").textContent = "Stop";
  try {
    for await (const answer of answers) show(answer);
  } finally {
    running = null;
    part("run").textContent = "Run (Ctrl+Enter)";
  }
}

function show(answer) {
  part("answer").textContent += JSON.stringify(answer, null, 2) + "\n";
}

function stop() {
  return running.return();
}

part("key").addEventListener("input", () => {
  keepKey(part("key").value);
  showStatus();
});
part("show").addEventListener("click", () => {
  const shown = part("key").type === "password";
  part("key").type = shown ? "text" : "password";
  part("show").textContent = shown ? "Hide" : "Show";
  part("show").setAttribute("aria-pressed", String(shown));
});
part("run").addEventListener("click", run);
addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    run();
  }
});
addEventListener("hashchange", showKey);

showKey();
list(await documents());
