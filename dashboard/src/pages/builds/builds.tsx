import { Page } from "@/ui/page";

export default function BuildsPage() {
  return <Page title="Builds">{null}</Page>;
}
