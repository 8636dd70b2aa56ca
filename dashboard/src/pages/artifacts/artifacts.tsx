import { Page } from "@/ui/page";

export default function ArtifactsPage() {
  return <Page title="Artifacts">{null}</Page>;
}
