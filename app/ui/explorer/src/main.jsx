import "graphiql/setup-workers/vite";
import "graphiql/style.css";
import "@graphiql/plugin-explorer/style.css";
import "./explorer.css";

import { createRoot } from "react-dom/client";

import { documents } from "../../small_explorer/client.js";
import { Explorer } from "./Explorer.jsx";

// GraphiQL takes its first tabs once, so the documents come before it does.
createRoot(document.getElementById("root")).render(<Explorer documents={await documents()} />);
