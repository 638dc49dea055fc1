// GraphiQL's tabs and history outlive the browser tab. Its history would keep request headers too, which may hold a key.
const HISTORIES = ["graphiql:queries", "graphiql:favorites"];

export const storage = {
  get length() {
    return localStorage.length;
  },
  clear: () => localStorage.clear(),
  getItem: (name) => localStorage.getItem(name),
  removeItem: (name) => localStorage.removeItem(name),
  setItem: (name, value) => localStorage.setItem(name, HISTORIES.includes(name) ? withoutHeaders(value) : value),
};

function withoutHeaders(history) {
  return JSON.stringify(JSON.parse(history), (field, value) => (field === "headers" ? undefined : value));
}
