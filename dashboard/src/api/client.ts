import createClient from "openapi-fetch";
import { ApiError, unreachable } from "./errors";
import type { paths } from "./schema";
import { connection } from "./signals";

/**
 * A fetch that knows what each answer means for the whole application: a server that is away, a login that ended.
 *
 * After a login ends, the request waits until the user is logged in again and is then sent once more.
 */
export async function request(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
  const asked = new Request(input, { credentials: "same-origin", ...init });
  for (;;) {
    const response = await send(asked.clone());
    if (response.status !== 401 || asked.url.endsWith("/api/v1/login")) return response;
    if (!begun) throw await ApiError.of(response);
    await connection.loginEnded();
  }
}

async function send(asked: Request): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(asked);
  } catch (error) {
    if (asked.signal.aborted) throw error;
    connection.lost();
    throw unreachable();
  }
  if (response.status === 502 || response.status === 504) {
    connection.lost();
    throw unreachable();
  }
  connection.found();
  return response;
}

let begun = false;

/** From now on an ended login is asked for over the page; before, it leads to the page of the login. */
export function begin() {
  begun = true;
}

const raw = createClient<paths>({
  baseUrl: window.location.origin,
  fetch: request,
  querySerializer: { array: { style: "form", explode: true } },
});

/** The API. Each call gives the body of a good answer, and throws `ApiError` for any other: `data(api.GET(…))`. */
export const api = raw;

export async function data<T>(asked: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data: body, error, response } = await asked;
  if (!response.ok) {
    const detail = (error as { error?: { type: string; summary: string; why: string; mend: string } })?.error;
    if (detail) throw new ApiError(response.status, detail.type, detail.summary, detail.why, detail.mend);
    throw new ApiError(
      response.status,
      "TilthError",
      `the server answered with ${response.status}`,
      "",
      "try again, and see the server's log",
    );
  }
  return body as T;
}
