import { Page } from "@/ui/page";

export default function SecretsPage() {
  return <Page title="Secrets">{null}</Page>;
}
