export { LogViewer } from "./viewer";
