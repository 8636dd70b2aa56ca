import { Page } from "@/ui/page";

export default function StacksPage() {
  return <Page title="Stacks">{null}</Page>;
}
