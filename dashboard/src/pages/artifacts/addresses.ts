import { request } from "@/api/client";
import { ApiError } from "@/api/errors";

export type Source = "files" | "visualizations";

/** Where a file of an artifact is, for pictures, frames and links: the server sends it in an origin of its own. */
export function fileUrl(project: string, id: string, source: Source, name: string, download = false): string {
  const path = name.split("/").map(encodeURIComponent).join("/");
  const base = `/api/v1/projects/${encodeURIComponent(project)}/artifacts/${encodeURIComponent(id)}`;
  return `${base}/${source}/${path}${download ? "?download=true" : ""}`;
}

export function downloadUrl(project: string, id: string): string {
  return `/api/v1/projects/${encodeURIComponent(project)}/artifacts/${encodeURIComponent(id)}/download`;
}

/** The beginning of a text file. `whole`: there is no more of it. */
export async function beginning(url: string, most: number): Promise<{ text: string; whole: boolean }> {
  const response = await request(url, { headers: { Range: `bytes=0-${most - 1}` } });
  if (response.status === 416) return { text: "", whole: true }; // it is empty
  if (!response.ok) throw await ApiError.of(response);
  const total = Number(response.headers.get("content-range")?.split("/")[1] ?? 0);
  const content = await response.arrayBuffer();
  const whole = response.status === 200 || total <= content.byteLength;
  // What is cut within a letter ends before it.
  return { text: new TextDecoder("utf-8").decode(content, { stream: !whole }), whole };
}

export function artifactsPath(project: string): string {
  return `/p/${encodeURIComponent(project)}/artifacts`;
}

export function runPath(project: string, run: string, step?: string): string {
  const path = `/p/${encodeURIComponent(project)}/runs/${encodeURIComponent(run)}`;
  return step ? `${path}?step=${encodeURIComponent(step)}` : path;
}
