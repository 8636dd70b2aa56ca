import { Page } from "@/ui/page";

export default function EnvironmentsPage() {
  return <Page title="Environments">{null}</Page>;
}
