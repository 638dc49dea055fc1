// What both explorers need: the API key, the project's documents, and a request to the endpoint.

const KEY = "leadgraph.key";

/** The key of this browser tab, or "". One that came as `#key=...` is kept, and goes from the address bar. */
export function takeKey() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (key !== null) {
    keepKey(key);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(KEY) ?? "";
}

/** Keep the key until the browser tab closes. */
export function keepKey(key) {
  sessionStorage.setItem(KEY, key.trim());
}

/** The documents of the project's `queries` folder: `[{name, text}]`. */
export async function documents() {
  const response = await fetch("/explorer/documents.json");
  return response.ok ? response.json() : [];
}

/**
 * Send one GraphQL request. Gives the answer, or for a subscription an async iterator of answers, whose
 * `return()` ends it.
 */
export async function send(request, key, headers = {}) {
  const all = new Headers({
    // The server picks: an event stream for a subscription, JSON for everything else.
    Accept: "application/graphql-response+json, application/json;q=0.9, text/event-stream;q=0.8",
    "Content-Type": "application/json",
  });
  if (key) all.set("Authorization", `Bearer ${key}`);
  for (const [name, value] of Object.entries(headers)) all.set(name, value);
  const response = await fetch("/graphql", { method: "POST", headers: all, body: JSON.stringify(request) });
  if (response.headers.get("Content-Type")?.startsWith("text/event-stream")) return stream(response.body);
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`The server answered ${response.status} without JSON: ${text.slice(0, 200)}`);
  }
}

function stream(body) {
  const reader = body.getReader();
  const answers = read(reader);
  const finish = answers.return.bind(answers);
  // A generator that waits for the network would end only at the next event: take the network away first.
  answers.return = async () => {
    await reader.cancel();
    return finish();
  };
  return answers;
}

async function* read(reader) {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += decoder.decode(value, { stream: true });
    const events = text.split(/\r?\n\r?\n/);
    text = events.pop();
    for (const event of events) {
      const data = event.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (data) yield JSON.parse(data);
    }
  }
}
