import { Page } from "@/ui/page";

export default function SnapshotsPage() {
  return <Page title="Snapshots">{null}</Page>;
}
