/** What the server, or the way to it, says is wrong: what, why, and how to mend it. */
export class ApiError extends Error {
  constructor(
    readonly status: number, // 0: no answer came
    readonly type: string,
    readonly summary: string,
    readonly why = "",
    readonly mend = "",
  ) {
    super(summary);
    this.name = "ApiError";
  }

  static async of(response: Response): Promise<ApiError> {
    try {
      const { error } = await response.json();
      return new ApiError(response.status, error.type, error.summary, error.why, error.mend);
    } catch {
      return new ApiError(
        response.status,
        "TilthError",
        `the server answered with ${response.status}`,
        "its answer has no description; a proxy in front may have written it",
        "try again, and see the server's log",
      );
    }
  }
}

/** An error as people read it, whatever was thrown. */
export function told(error: unknown): { summary: string; why: string; mend: string } {
  if (error instanceof ApiError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return {
    summary: "this page failed",
    why: message,
    mend: "try again; if it stays, report it with this text",
  };
}

export function unreachable(): ApiError {
  return new ApiError(
    0,
    "ServerUnavailable",
    "the server does not answer",
    "it is stopped, or the network is down",
    "this page goes on by itself when the server is back",
  );
}
