"""What of an artifact's files is shown as a table, read in part with the standard library alone: a server has neither
numpy nor pandas, and a file may be larger than its memory. Knows nothing of requests, nor where files lie."""
