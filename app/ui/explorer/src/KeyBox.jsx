import { useState } from "react";

export function KeyBox({ value, onChange }) {
  const [shown, setShown] = useState(false);
  return (
    <div className="key">
      <label htmlFor="key">API key</label>
      <input
        id="key"
        type={shown ? "text" : "password"}
        value={value}
        onChange={(event) => onChange(event.target.value)}
        autoComplete="off"
        spellCheck={false}
      />
      <button type="button" aria-pressed={shown} onClick={() => setShown(!shown)}>
        {shown ? "Hide" : "Show"}
      </button>
    </div>
  );
}
