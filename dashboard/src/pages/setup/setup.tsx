import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { Check, Circle } from "lucide-react";
import { type ReactNode, useState } from "react";
import { api, data } from "@/api/client";
import { me, projects } from "@/api/queries";
import { MakeKey } from "@/pages/settings/keys";
import { MakeProject } from "@/pages/settings/projects";
import { lastProject, rememberProject } from "@/shell/project";
import { Button, buttonClass } from "@/ui/button";
import { Field } from "@/ui/form/form";
import { Select } from "@/ui/input";
import { Page } from "@/ui/page";
import { Answer } from "@/ui/said";
import { Script } from "@/ui/script";
import { ciJob, FIRST, tomlFor } from "./first";

const route = getRouteApi("/setup");

/** From a login to a first run, and a key for CI: for whoever is here for the first time, or at a new machine. */
export default function SetupPage() {
  const { project: chosen } = route.useSearch();
  const navigate = route.useNavigate();
  const { data: who } = useQuery(me);
  const query = useQuery(projects);
  const choose = (project: string) => {
    rememberProject(project);
    return navigate({ search: { project }, replace: true });
  };
  return (
    <Page title="Set up" wide={false}>
      <p className="text-muted">
        {who ? `Welcome, ${who.user.full_name || who.user.name}. ` : ""}Four steps from here to a first run.
        Come back whenever you sit at a new machine: this page is linked from your account.
      </p>
      <Answer query={query}>
        {({ items }) => {
          const known = items.map((each) => each.name);
          const project =
            [chosen, lastProject()].find((each) => each && known.includes(each)) ?? known[0] ?? "";
          const role = items.find((each) => each.name === project)?.role;
          return <Steps project={project} known={known} role={role} onChoose={choose} />;
        }}
      </Answer>
    </Page>
  );
}

function Steps({
  project,
  known,
  role,
  onChoose,
}: {
  project: string;
  known: string[];
  role: string | undefined;
  onChoose: (project: string) => unknown;
}) {
  const [making, setMaking] = useState(known.length === 0);
  const [key, setKey] = useState(false);
  const { data: tokens } = useQuery({
    queryKey: ["tokens", ""],
    queryFn: () => data(api.GET("/api/v1/tokens", { params: { query: { limit: 1000 } } })),
    select: ({ items }) => ({
      machine: items.find(
        (each) => each.purpose === "session" && !["browser", "link", ""].includes(each.name),
      ),
      key: items.find((each) => each.purpose === "api_key"),
    }),
    refetchInterval: 5000,
  });
  const { data: first } = useQuery({
    queryKey: ["setup", "runs", project],
    queryFn: () =>
      data(
        api.GET("/api/v1/projects/{project}/runs", {
          params: { path: { project }, query: { limit: 1 } },
        }),
      ),
    enabled: project !== "",
    refetchInterval: 3000,
  });
  const run = first?.items[0];
  return (
    <ol className="flex flex-col gap-4">
      <Step number={1} title="A project" done={project !== ""}>
        {making ? (
          <MakeProject
            onDone={(name) => {
              setMaking(false);
              return onChoose(name);
            }}
            onCancel={known.length ? () => setMaking(false) : undefined}
          />
        ) : (
          <div className="flex flex-wrap items-end gap-3">
            <div className="min-w-48 grow">
              <Field name="project" label="Yours">
                {(field) => (
                  <Select
                    {...field}
                    value={project}
                    options={known}
                    onChange={(event) => void onChoose(event.target.value)}
                  />
                )}
              </Field>
            </div>
            <Button onClick={() => setMaking(true)}>Make one</Button>
          </div>
        )}
        {role === "viewer" && (
          <p className="mt-2 text-sm text-wait">
            You may look at this one, and run nothing in it. Ask one of its admins, or make your own.
          </p>
        )}
      </Step>
      <Step number={2} title="This machine" done={Boolean(tokens?.machine)}>
        <p className="text-sm text-muted">
          In an environment with Python 3.10 or newer. The second command opens a page here that lets it in.
        </p>
        <Script>{`pip install tilth\ntilth login ${window.location.origin}`}</Script>
        {tokens?.machine && (
          <p className="text-sm text-muted">
            Logged in at: <strong>{tokens.machine.name}</strong>
          </p>
        )}
      </Step>
      <Step number={3} title="A first run" done={Boolean(run)}>
        <p className="text-sm text-muted">
          In the folder of your code, or an empty one. The first line names the project that its runs go to.
        </p>
        <Script>{tomlFor(project)}</Script>
        <p className="text-sm text-muted">
          In <code>first.py</code>:
        </p>
        <Script label="copy the file">{FIRST}</Script>
        <Script>tilth run first.py</Script>
        {run ? (
          <p className="text-sm">
            It is here:{" "}
            <Link
              to={`/p/${encodeURIComponent(project)}/runs/${encodeURIComponent(run.name ?? "")}` as string}
              className="font-medium text-accent hover:underline"
            >
              {run.name}
            </Link>
            , {run.state}
          </p>
        ) : (
          <p role="status" className="text-sm text-muted">
            This page sees it as soon as it is started.
          </p>
        )}
      </Step>
      <Step number={4} title="A key for CI" done={Boolean(tokens?.key)}>
        <p className="text-sm text-muted">
          So that jobs run pipelines of {project || "the project"} too. Keep the key in the secrets of your
          CI, as <code>TILTH_API_KEY</code>.
        </p>
        <div>
          <Button look="primary" onClick={() => setKey(true)} disabled={!project}>
            Make a key
          </Button>
        </div>
        <p className="text-sm text-muted">As a job of GitHub:</p>
        <Script label="copy the job">{ciJob(window.location.origin)}</Script>
      </Step>
      {project && (
        <li className="list-none">
          <Link to="/p/$project/overview" params={{ project }} className={buttonClass("primary")}>
            To the overview of {project}
          </Link>
        </li>
      )}
      {key && <MakeKey user="" project={project} name="ci" onClose={() => setKey(false)} />}
    </ol>
  );
}

function Step({
  number,
  title,
  done,
  children,
}: {
  number: number;
  title: string;
  done: boolean;
  children: ReactNode;
}) {
  const Icon = done ? Check : Circle;
  return (
    <li className="list-none rounded-lg border border-line bg-surface p-4 shadow-card">
      <h2 className="mb-3 flex items-center gap-2 text-sm font-semibold">
        <span
          className={`flex size-6 items-center justify-center rounded-full ${done ? "bg-good-soft text-good" : "bg-sunken text-muted"}`}
        >
          <Icon className="size-3.5" aria-hidden />
        </span>
        {number}. {title}
        {done && <span className="text-xs font-normal text-good">done</span>}
      </h2>
      <div className="flex flex-col gap-3">{children}</div>
    </li>
  );
}
