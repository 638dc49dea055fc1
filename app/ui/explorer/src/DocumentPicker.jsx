import { pick, useGraphiQL, useGraphiQLActions } from "@graphiql/react";
import { useEffect } from "react";

/** The project's documents, by noun; the picked one opens in a tab of its own. */
export function DocumentPicker({ documents }) {
  const { addTab, setOperationName } = useGraphiQLActions();
  const { queryEditor, activeTabIndex } = useGraphiQL(pick("queryEditor", "activeTabIndex"));
  const nouns = Map.groupBy(documents, ({ name }) => name.split("/")[0]);

  // GraphiQL opens a tab beyond the edge when the row is full.
  useEffect(() => {
    document.getElementById(`graphiql-session-tab-${activeTabIndex}`)?.scrollIntoView({ inline: "nearest", block: "nearest" });
  }, [activeTabIndex]);

  function open(event) {
    const picked = documents.find(({ name }) => name === event.target.value);
    addTab();
    queryEditor.setValue(picked.text);
    // GraphiQL reads a document after a pause, and would until then send the name of the last tab's operation.
    setOperationName(null);
    queryEditor.focus();
  }

  return (
    <select className="documents" aria-label="Open a document" value="" onChange={open} disabled={!queryEditor || !documents.length}>
      <option value="" disabled>
        Open a document
      </option>
      {[...nouns].map(([noun, listed]) => (
        <optgroup key={noun} label={noun}>
          {listed.map(({ name }) => (
            <option key={name}>{name}</option>
          ))}
        </optgroup>
      ))}
    </select>
  );
}
