import { Page } from "@/ui/page";

export default function PipelinesPage() {
  return <Page title="Pipelines">{null}</Page>;
}
