import { explorerPlugin } from "@graphiql/plugin-explorer";
import { GraphiQL, HISTORY_PLUGIN } from "graphiql";
import { useEffect, useMemo, useState } from "react";

import { keepKey, send, takeKey } from "../../small_explorer/client.js";
import { DocumentPicker } from "./DocumentPicker.jsx";
import { KeyBox } from "./KeyBox.jsx";
import { storage } from "./storage.js";

const FIRST_TABS = 3;
const PLUGINS = [HISTORY_PLUGIN, explorerPlugin()];
const NO_KEY = "Paste an API key to load the schema.";
const TYPING_PAUSE = 300; // milliseconds

export function Explorer({ documents }) {
  const [key, setKey] = useState(takeKey);
  const [usedKey, setUsedKey] = useState(key);
  const [problem, setProblem] = useState("");

  // The schema is asked for anew with every key: wait until it is typed.
  useEffect(() => {
    keepKey(key);
    const timer = setTimeout(() => setUsedKey(key.trim()), TYPING_PAUSE);
    return () => clearTimeout(timer);
  }, [key]);

  useEffect(() => {
    const take = () => setKey(takeKey());
    addEventListener("hashchange", take);
    return () => removeEventListener("hashchange", take);
  }, []);

  const fetcher = useMemo(() => {
    return async (request, { headers } = {}) => {
      const asksSchema = request.operationName === "IntrospectionQuery";
      try {
        const answer = await send(request, usedKey, headers);
        if (asksSchema) setProblem(answer.data ? "" : whyNoSchema(answer));
        return answer;
      } catch (error) {
        if (asksSchema) setProblem(`The schema did not load: ${error.message}`);
        throw error;
      }
    };
  }, [usedKey]);

  return (
    <>
      <header className="bar">
        <h1>Leadgraph</h1>
        <p role="status">{usedKey ? problem : NO_KEY}</p>
        <KeyBox value={key} onChange={setKey} />
      </header>
      <GraphiQL
        fetcher={fetcher}
        schema={usedKey ? undefined : null} // null: don't ask for it
        schemaDescription
        inputValueDeprecation
        storage={storage}
        shouldPersistHeaders={false}
        plugins={PLUGINS}
        defaultTabs={firstTabs(documents)}
        defaultEditorToolsVisibility
      >
        <GraphiQL.Logo>
          <DocumentPicker documents={documents} />
        </GraphiQL.Logo>
      </GraphiQL>
    </>
  );
}

/** The first documents that only read: a tab that is run by mistake changes nothing. */
function firstTabs(documents) {
  const tabs = documents.filter(({ text }) => /^query\b/m.test(text)).map(({ text }) => ({ query: text }));
  return tabs.length ? tabs.slice(0, FIRST_TABS) : undefined;
}

function whyNoSchema({ errors }) {
  const [error] = errors ?? [];
  if (error?.extensions?.code === "UNAUTHENTICATED") return "The server does not know this API key: paste another to load the schema.";
  return `The schema did not load: ${error?.message ?? "the answer has no data"}`;
}
