import { useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { Pause, Pencil, Play, PlayCircle, Trash2 } from "lucide-react";
import { useState } from "react";
import { api, data } from "@/api/client";
import { Launches } from "@/pages/snapshots/launches";
import { isOver } from "@/pages/snapshots/queries";
import { targetFacts } from "@/pages/snapshots/target";
import { useRole } from "@/shell/project";
import { Button } from "@/ui/button";
import { Card, Facts } from "@/ui/card";
import { Confirm } from "@/ui/dialog";
import { exact } from "@/ui/format";
import { Page } from "@/ui/page";
import { Answer } from "@/ui/said";
import { Ago } from "@/ui/time";
import { toast } from "@/ui/toast";
import { type Schedule, schedule } from "./queries";
import { inWords } from "./rhythm";
import { NextTimes, ScheduleForm } from "./schedule-form";
import { ScheduleState } from "./schedules";

const route = getRouteApi("/p/$project/schedules/$name");

export default function SchedulePage() {
  const { project, name } = route.useParams();
  const query = useQuery(schedule(project, name));
  const crumbs = [{ label: "Schedules", to: `/p/${encodeURIComponent(project)}/schedules` }];
  return (
    <Answer
      query={query}
      loading={
        <Page title={name} crumbs={crumbs}>
          {null}
        </Page>
      }
    >
      {(found) => <Shown found={found} />}
    </Answer>
  );
}

function Shown({ found }: { found: Schedule }) {
  const { project, name } = route.useParams();
  const { edit } = route.useSearch();
  const navigate = route.useNavigate();
  const editor = useRole("editor");
  const client = useQueryClient();
  const [busy, setBusy] = useState(false);
  const path = { project, name };
  const launches = useQuery({
    queryKey: ["launches", project, "schedule", name],
    queryFn: () =>
      data(api.GET("/api/v1/projects/{project}/schedules/{name}/launches", { params: { path } })),
    refetchInterval: ({ state }) => (state.data?.items.some((each) => !isOver(each)) ? 2000 : 10_000),
  });
  const act = async (work: () => Promise<unknown>, done: string) => {
    setBusy(true);
    try {
      await work();
      toast.done(done);
      await client.invalidateQueries({ queryKey: ["schedules", project] });
      await client.invalidateQueries({ queryKey: ["launches", project] });
    } catch (error) {
      toast.failed(error);
    }
    setBusy(false);
  };
  const setActive = (active: boolean) =>
    act(
      () =>
        data(
          api.PATCH("/api/v1/projects/{project}/schedules/{name}", { params: { path }, body: { active } }),
        ),
      active ? "The schedule goes on." : "The schedule is paused.",
    );
  const remove = async () => {
    await data(api.DELETE("/api/v1/projects/{project}/schedules/{name}", { params: { path } }));
    await client.invalidateQueries({ queryKey: ["schedules", project] });
    await navigate({ to: "/p/$project/schedules", params: { project } });
  };
  const crumbs = [{ label: "Schedules", to: `/p/${encodeURIComponent(project)}/schedules` }];
  if (edit && editor) {
    const back = () => navigate({ search: {} });
    return (
      <Page title={`Edit ${found.name}`} crumbs={crumbs}>
        <ScheduleForm
          before={found}
          onDone={() => {
            toast.done("The schedule is saved.");
            return back();
          }}
          onCancel={() => void back()}
        />
      </Page>
    );
  }
  const given = Object.entries(found.parameters ?? {});
  return (
    <Page
      title={found.name}
      crumbs={crumbs}
      note={<ScheduleState schedule={found} />}
      actions={
        editor && (
          <>
            <Button
              busy={busy}
              onClick={() =>
                act(
                  () =>
                    data(api.POST("/api/v1/projects/{project}/schedules/{name}/runs", { params: { path } })),
                  "A run is asked for.",
                )
              }
            >
              <PlayCircle /> Run now
            </Button>
            <Button busy={busy} onClick={() => setActive(!found.active)}>
              {found.active ? <Pause /> : <Play />} {found.active ? "Pause" : "Resume"}
            </Button>
            <Button onClick={() => void navigate({ search: { edit: true } })}>
              <Pencil /> Edit
            </Button>
            <Confirm
              trigger={
                <Button look="danger">
                  <Trash2 /> Delete
                </Button>
              }
              title={`Delete schedule ${found.name}?`}
              action="Delete it"
              onConfirm={remove}
            >
              Runs that it has asked for stay.
            </Confirm>
          </>
        )
      }
    >
      <div className="grid items-start gap-4 lg:grid-cols-2">
        <Card title="What it does">
          <Facts
            items={[
              ["when", <code key="w">{inWords(found)}</code>],
              ...targetFacts(project, found.snapshot, given),
              ["meanwhile", OVERLAPS[found.overlap ?? "allow"]],
              ["what was missed", found.catch_up ? "is all started" : "the newest alone is started"],
              found.begins_at != null && ["not before", exact(found.begins_at)],
              found.ends_at != null && ["not after", exact(found.ends_at)],
              ["last time", <Ago key="l" at={found.last_at} />],
            ]}
          />
        </Card>
        <NextTimes
          title={found.active ? "Its next times" : "Its next times, were it not paused"}
          when={{
            cron: found.cron,
            timezone: found.timezone,
            every_s: found.every_s,
            at: found.at,
            begins_at: found.begins_at ?? (found.every_s ? found.created_at : null),
            ends_at: found.ends_at,
          }}
        />
      </div>
      <Answer query={launches}>
        {({ items }) => (
          <Launches
            launches={items}
            title="What became of its times"
            empty="None of its times has come yet."
          />
        )}
      </Answer>
    </Page>
  );
}

const OVERLAPS: Record<string, string> = {
  allow: "another is started while one goes on",
  skip: "none is started while one goes on",
  wait: "the next waits for the end of the one before",
  cancel: "the next ends the one before",
};
