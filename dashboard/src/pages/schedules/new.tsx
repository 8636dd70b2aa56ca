import { getRouteApi } from "@tanstack/react-router";
import { Page } from "@/ui/page";
import { toast } from "@/ui/toast";
import { ScheduleForm } from "./schedule-form";

const route = getRouteApi("/p/$project/schedules/new");

export default function NewSchedulePage() {
  const { project } = route.useParams();
  const { snapshot } = route.useSearch();
  const navigate = route.useNavigate();
  return (
    <Page
      title="New schedule"
      crumbs={[{ label: "Schedules", to: `/p/${encodeURIComponent(project)}/schedules` }]}
    >
      <ScheduleForm
        snapshot={snapshot}
        onDone={(made) => {
          toast.done(`Schedule ${made.name} is made.`);
          return navigate({ to: "/p/$project/schedules/$name", params: { project, name: made.name } });
        }}
        onCancel={() => void navigate({ to: "/p/$project/schedules", params: { project } })}
      />
    </Page>
  );
}
