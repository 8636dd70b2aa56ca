import { useState } from "react";
import { Card } from "@/ui/card";
import type { Shown } from "../contents";
import { Beginning, FIRST } from "./beginning";

/** A text as it is. */
export default function TextView(shown: Shown) {
  const [most, setMost] = useState(FIRST);
  return (
    <Card title={shown.view.label} flush>
      <Beginning {...shown} most={most} onMore={setMost}>
        {(text) => <Lines text={text} />}
      </Beginning>
    </Card>
  );
}

export function Lines({ text }: { text: string }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <pre tabIndex={0} className="max-h-[70vh] overflow-auto p-4 text-[13px] whitespace-pre-wrap break-words">
      {text || <span className="text-muted">it is empty</span>}
    </pre>
  );
}
