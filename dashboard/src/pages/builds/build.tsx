import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { CircleAlert, TriangleAlert } from "lucide-react";
import { useProject } from "@/shell/project";
import { Card, Facts, Figure } from "@/ui/card";
import { Command, CopyButton, Digest } from "@/ui/copy";
import { bytes, duration, short } from "@/ui/format";
import { Page } from "@/ui/page";
import { Answer, Loading, sentence } from "@/ui/said";
import { Ago, Took } from "@/ui/time";
import { Quoted } from "../environments/parts";
import { ImageLayers } from "./layers";
import { BuildLog } from "./log";
import { type Build, buildById } from "./queries";
import { Standing, useLost } from "./standing";
import { phases } from "./telling";

const route = getRouteApi("/p/$project/builds/$id");

export default function BuildPage() {
  const project = useProject();
  const { id } = route.useParams();
  const query = useQuery(buildById(project, id));
  const crumbs = [{ label: "Builds", to: `/p/${encodeURIComponent(project)}/builds` }];
  return (
    <Page
      title={query.data?.name ? `Image of ${query.data.name}` : `Build ${id.slice(-12)}`}
      crumbs={crumbs}
      note={query.data && <Standing build={query.data} />}
    >
      <Answer query={query} loading={<Loading rows={10} />}>
        {(build) => <Told project={project} build={build} />}
      </Answer>
    </Page>
  );
}

function Told({ project, build }: { project: string; build: Build }) {
  const lost = useLost(build);
  const live = build.state === "running" && !lost;
  const spent = phases(build.seconds);
  return (
    <div className="space-y-4">
      {lost && (
        <Problem
          what="Nobody makes this image any more"
          why="Nothing has been heard of its maker for a minute: the process ended without saying how."
          mend="Build it again: layers that were made are found."
        />
      )}
      {build.failure && (
        <Problem
          what={sentence(build.failure.message || build.failure.reason)}
          why={build.failure.type ?? ""}
          mend={build.failure.mend ? sentence(build.failure.mend) : ""}
        />
      )}
      {(build.warnings ?? []).length > 0 && (
        <div className="flex gap-3 rounded-lg border border-line bg-wait-soft p-4 text-sm">
          <TriangleAlert className="mt-0.5 size-4 shrink-0 text-wait" aria-hidden />
          <ul className="min-w-0 space-y-1">
            {build.warnings?.map((each) => (
              <li key={each} className="break-words">
                <Quoted text={sentence(each)} />
              </li>
            ))}
          </ul>
        </div>
      )}
      <div className="grid grid-cols-2 gap-4 rounded-lg border border-line bg-surface p-4 shadow-card sm:grid-cols-3 lg:grid-cols-5">
        <Figure
          label="took"
          value={<Took from={build.created_at} to={build.finished_at ?? endOf(build)} running={live} />}
        />
        <Figure label="made" value={bytes(build.bytes_made ?? 0)} />
        <Figure label="sent" value={bytes(build.bytes_sent ?? 0)} />
        <Figure label="reused in the registry" value={bytes(build.bytes_reused ?? 0)} />
        <Figure label="begun" value={<Ago at={build.created_at} />} />
      </div>
      {spent.length > 0 && (
        <Card title="Where the time went">
          <Phases spent={spent} />
        </Card>
      )}
      {!build.found && <BuildLog project={project} id={build.id ?? ""} live={live} path={build.log ?? ""} />}
      {build.image && <ImageLayers project={project} build={build.id ?? ""} />}
      <Card title="What it is">
        <Facts
          items={[
            build.image ? ["image", <Digest key="image" value={build.image} length={20} />] : null,
            [
              "environment",
              <span key="environment" className="inline-flex items-center gap-2">
                <Link
                  to="/p/$project/environments/$digest"
                  params={{ project, digest: build.environment }}
                  className="hover:underline"
                >
                  {build.name || "environment"}
                </Link>
                <code className="text-muted">{short(build.environment)}</code>
              </span>,
            ],
            (build.references ?? []).length > 0 && [
              "where it is",
              <ul key="references">
                {build.references?.map((each) => (
                  <li key={each} className="flex items-center gap-1">
                    <code className="min-w-0 break-all">{each}</code>
                    <CopyButton text={each} label="copy the reference" />
                  </li>
                ))}
              </ul>,
            ],
            build.base
              ? [
                  "base",
                  <code key="base" className="break-all">
                    {build.base}
                  </code>,
                ]
              : null,
            build.platform ? ["platform", build.platform] : null,
            ["builder", build.builder || "the client alone, without a container engine"],
            build.machine ? ["machine", build.machine] : null,
            build.found ? ["found", "somebody else had pushed it; nothing was made"] : null,
            ["look at it", <Command key="show">{`tilth builds show ${build.id?.slice(-12)}`}</Command>],
          ]}
        />
      </Card>
    </div>
  );
}

const TONES = ["bg-accent", "bg-cached", "bg-busy", "bg-wait", "bg-calm"];

function Phases({ spent }: { spent: ReturnType<typeof phases> }) {
  const whole = spent.reduce((sum, each) => sum + each.seconds, 0);
  return (
    <>
      <div className="flex h-5 gap-px overflow-hidden rounded bg-sunken" aria-hidden>
        {spent.map((each, at) => (
          <div
            key={each.name}
            className={TONES[at % TONES.length]}
            style={{ width: `${(100 * each.seconds) / whole}%` }}
            title={`${each.name}: ${duration(each.seconds)}`}
          />
        ))}
      </div>
      <ul className="mt-2 flex flex-wrap gap-x-4 gap-y-1 text-sm">
        {spent.map((each, at) => (
          <li key={each.name} className="flex items-center gap-1.5">
            <span aria-hidden className={`inline-block size-3 rounded-[3px] ${TONES[at % TONES.length]}`} />
            {each.name} <span className="text-muted tabular-nums">{duration(each.seconds)}</span>
          </li>
        ))}
      </ul>
    </>
  );
}

function Problem({ what, why, mend }: { what: string; why: string; mend: string }) {
  return (
    <div role="alert" className="flex gap-3 rounded-lg border border-line bg-bad-soft p-4 text-sm">
      <CircleAlert className="mt-0.5 size-4 shrink-0 text-bad" aria-hidden />
      <div className="min-w-0 space-y-1">
        <p className="font-semibold break-words text-bad">
          <Quoted text={what} />
        </p>
        {why && <p className="break-words">{why}</p>}
        {mend && (
          <p className="break-words">
            <Quoted text={mend} />
          </p>
        )}
      </div>
    </div>
  );
}

/** The end of a build by an older tilth, which recorded how long its phases took. */
function endOf(build: Build): string | undefined {
  if (build.state === "running" || !build.created_at) return undefined;
  const spent = phases(build.seconds).reduce((sum, each) => sum + each.seconds, 0);
  return new Date(Date.parse(build.created_at) + spent * 1000).toISOString();
}
