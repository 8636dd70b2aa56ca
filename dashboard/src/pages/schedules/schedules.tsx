import { Page } from "@/ui/page";

export default function SchedulesPage() {
  return <Page title="Schedules">{null}</Page>;
}
