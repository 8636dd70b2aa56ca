import { Page } from "@/ui/page";

export default function WebhooksPage() {
  return <Page title="Webhooks">{null}</Page>;
}
