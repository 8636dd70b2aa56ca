import { useMemo, useState } from "react";
import { Card } from "@/ui/card";
import { count } from "@/ui/format";
import type { Shown } from "../contents";
import { readCsv } from "../csv";
import { Beginning, FIRST } from "./beginning";
import { Grid } from "./grid";

const WIDEST = 100; // columns

/** Comma-separated values as a table; the first row is taken for the header. */
export default function CsvView(shown: Shown) {
  const [most, setMost] = useState(FIRST);
  return (
    <Card title={shown.view.label} flush>
      <Beginning {...shown} most={most} onMore={setMost}>
        {(text, whole) => <Rows text={text} whole={whole} />}
      </Beginning>
    </Card>
  );
}

function Rows({ text, whole }: { text: string; whole: boolean }) {
  const { rows, cut } = useMemo(() => readCsv(text, whole), [text, whole]);
  const [header = [], ...rest] = rows;
  const width = Math.max(header.length, ...rest.slice(0, 100).map((each) => each.length));
  if (rows.length === 0) return <p className="p-4 text-sm text-muted">It is empty.</p>;
  return (
    <>
      <Grid
        label="rows"
        headers={Array.from({ length: Math.min(width, WIDEST) }, (_, at) => ({ name: header[at] ?? "" }))}
        rows={rest.map((each) => each.slice(0, WIDEST))}
      />
      {(cut || width > WIDEST) && (
        <p className="border-t border-line px-4 py-2 text-xs text-muted">
          {count(rest.length)} rows{width > WIDEST && ` and ${WIDEST} of ${count(width)} columns`} are shown.
        </p>
      )}
    </>
  );
}
