import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { Download, GitCompareArrows } from "lucide-react";
import { useProject } from "@/shell/project";
import { Button, buttonClass } from "@/ui/button";
import { Card, Facts, Figure } from "@/ui/card";
import { Command, Digest } from "@/ui/copy";
import { bytes, count, short } from "@/ui/format";
import { Menu, MenuItem, MenuLabel } from "@/ui/menu";
import { Page } from "@/ui/page";
import { Answer, Empty, ErrorView, Loading } from "@/ui/said";
import { Badge, State } from "@/ui/state";
import { Tabs } from "@/ui/tabs";
import { Ago } from "@/ui/time";
import { ImageLayers } from "../builds/layers";
import { PackageTree } from "./package-tree";
import { CheckMarks, drift, Findings, vulnerabilities } from "./parts";
import {
  contents,
  type EnvironmentView,
  environmentList,
  exportAddress,
  users as usersQuery,
} from "./queries";
import { isTop } from "./tree";
import { Treemap } from "./treemap";

const route = getRouteApi("/p/$project/environments/$digest");

export default function EnvironmentPage() {
  const project = useProject();
  const { digest } = route.useParams();
  const query = useQuery(contents(project, digest));
  const crumbs = [{ label: "Environments", to: `/p/${encodeURIComponent(project)}/environments` }];
  return (
    <Page
      title={query.data?.name ?? short(digest)}
      crumbs={crumbs}
      note={
        query.data && (
          <>
            <Badge tone="calm" title={query.data.title}>
              {query.data.role}
            </Badge>
            <CheckMarks check={query.data.check} />
          </>
        )
      }
      actions={query.data && <Actions project={project} found={query.data} />}
    >
      <Answer query={query} loading={<Loading rows={10} />}>
        {(found) => <Contents project={project} found={found} />}
      </Answer>
    </Page>
  );
}

function Actions({ project, found }: { project: string; found: EnvironmentView }) {
  const forms: Array<[string, string]> = [
    ...(found.lock ? ([["pylock", "Lock (pylock.toml, PEP 751)"]] as Array<[string, string]>) : []),
    ["cyclonedx", "Bill of materials (CycloneDX 1.6)"],
    ["requirements", "Requirements with hashes"],
    ["dockerfile", "Dockerfile"],
  ];
  return (
    <>
      <CompareWith project={project} found={found} />
      <Menu
        align="end"
        trigger={
          <Button>
            <Download /> Download
          </Button>
        }
      >
        <MenuLabel>This environment for other tools</MenuLabel>
        {forms.map(([form, label]) => (
          <MenuItem
            key={form}
            onSelect={() => {
              window.location.assign(exportAddress(project, found.id, form));
            }}
          >
            {label}
          </MenuItem>
        ))}
      </Menu>
    </>
  );
}

function CompareWith({ project, found }: { project: string; found: EnvironmentView }) {
  const others = useInfiniteQuery(environmentList(project, found.name));
  const navigate = useNavigate();
  const older = (others.data?.pages ?? [])
    .flatMap((page) => page.items)
    .filter((each) => each.id !== found.id);
  return (
    <Menu
      align="end"
      trigger={
        <Button>
          <GitCompareArrows /> Compare
        </Button>
      }
    >
      <MenuLabel>With another of the name {found.name}</MenuLabel>
      {older.slice(0, 10).map((each) => (
        <MenuItem
          key={each.id}
          onSelect={() =>
            void navigate({
              to: "/p/$project/environments/diff",
              params: { project },
              search: { a: each.id, b: found.id },
            })
          }
        >
          <code>{short(each.id)}</code>
          <span className="text-muted">{each.packages?.length} packages</span>
          <span className="ml-auto text-xs text-muted">
            <Ago at={each.created_at} />
          </span>
        </MenuItem>
      ))}
      <MenuItem
        onSelect={() =>
          void navigate({ to: "/p/$project/environments/diff", params: { project }, search: { b: found.id } })
        }
      >
        Choose from all …
      </MenuItem>
    </Menu>
  );
}

function Contents({ project, found }: { project: string; found: EnvironmentView }) {
  const search = route.useSearch();
  const navigate = useNavigate({ from: "/p/$project/environments/$digest" });
  const unpacked = found.packages.reduce((sum, each) => sum + each.unpacked, 0);
  const download = found.packages.reduce((sum, each) => sum + each.size, 0);
  const built = found.packages.filter((each) => each.builder);
  const bad = vulnerabilities(found.check);
  const drifted = drift(found.check);
  return (
    <div className="space-y-4">
      <div className="grid grid-cols-2 gap-4 rounded-lg border border-line bg-surface p-4 shadow-card sm:grid-cols-3 lg:grid-cols-6">
        <Figure label="Python" value={found.python} note={found.platform} />
        <Figure
          label="packages"
          value={count(found.packages.length)}
          note={found.system.length ? `and ${found.system.length} of conda` : undefined}
        />
        <Figure
          label="unpacked"
          value={unpacked ? bytes(unpacked) : "–"}
          note={unpacked ? undefined : "not known here"}
        />
        <Figure label="to download" value={download ? bytes(download) : "–"} />
        <Figure label="at the top" value={count(found.packages.filter(isTop).length)} />
        <Figure
          label="built from source"
          value={count(built.length)}
          note={
            built[0] && (
              <Link
                to="/p/$project/environments/$digest"
                params={{ project, digest: built[0].builder }}
                className="underline hover:text-ink"
              >
                its builder
              </Link>
            )
          }
        />
      </div>
      {[...bad, ...drifted].length > 0 && (
        <Card
          title={
            <>
              {bad.length ? "Known vulnerabilities" : "Drift"}{" "}
              <span className="font-normal text-muted">
                checked <Ago at={found.check?.checked_at} />
              </span>
            </>
          }
        >
          <Findings findings={[...bad, ...drifted]} />
        </Card>
      )}
      <Tabs
        label="parts of the environment"
        open={search.tab ?? "packages"}
        onOpen={(id) =>
          void navigate({
            search: (was) => ({ ...was, tab: id === "image" || id === "users" ? id : undefined }),
          })
        }
        tabs={[
          {
            id: "packages",
            label: "Packages",
            content: (
              <div className="space-y-4">
                {unpacked + download > 0 && <Treemap found={found} />}
                <PackageTree
                  found={found}
                  text={search.q ?? ""}
                  onText={(q) =>
                    void navigate({ search: (was) => ({ ...was, q: q || undefined }), replace: true })
                  }
                />
              </div>
            ),
          },
          {
            id: "image",
            label: "Image",
            content: found.build ? (
              <ImageLayers project={project} build={found.build.id ?? ""} />
            ) : (
              <Card>
                <Empty title="No image of this environment has been built" command="tilth build pipeline.py">
                  An image stands on a base, which is part of an environment's digest: what runs without
                  containers has another digest than its image.
                </Empty>
              </Card>
            ),
          },
          { id: "users", label: "Used by", content: <Users project={project} id={found.id} /> },
        ]}
      />
      <Card title="What it is">
        <Facts
          items={[
            ["digest", <Digest key="digest" value={found.id} length={20} />],
            ["kind", `${found.role}: ${found.title}`],
            found.requirements.length > 0 && [
              "requirements",
              <ul key="requirements" className="font-mono text-[13px]">
                {found.requirements.map((each) => (
                  <li key={each}>{each}</li>
                ))}
              </ul>,
            ],
            Object.keys(found.variables).length > 0 && [
              "variables",
              <ul key="variables" className="font-mono text-[13px]">
                {Object.entries(found.variables).map(([name, value]) => (
                  <li key={name}>
                    {name}={value}
                  </li>
                ))}
              </ul>,
            ],
            found.base !== "" && ["base image", <code key="base">{found.base}</code>],
            found.system.length > 0 && [
              "conda",
              found.system.map((each) => `${each.name} ${each.version} ${each.build}`).join(", "),
            ],
            found.lock !== "" && ["lock", <Digest key="lock" value={found.lock} />],
            ["recorded", <Ago key="recorded" at={found.created_at} />],
            ["enter it", <Command key="enter">{`tilth env shell ${short(found.id)}`}</Command>],
          ]}
        />
      </Card>
    </div>
  );
}

function Users({ project, id }: { project: string; id: string }) {
  const query = useInfiniteQuery(usersQuery(project, id));
  const rows = (query.data?.pages ?? []).flatMap((page) => page.items);
  if (query.error && !query.data) return <ErrorView error={query.error} retry={() => void query.refetch()} />;
  if (query.isPending) return <Loading />;
  if (rows.length === 0) {
    return (
      <Card>
        <Empty title="No run that is recorded here used it">
          Runs name their environments when they start; this one was recorded for something else, such as an
          image.
        </Empty>
      </Card>
    );
  }
  return (
    <Card flush title="Runs and steps that share it">
      <ul className="divide-y divide-line">
        {rows.map((each) => (
          <li key={each.id} className="flex flex-wrap items-center gap-x-3 gap-y-1 px-4 py-2 text-sm">
            <State state={each.state} bare />
            <Link
              to={`/p/${encodeURIComponent(project)}/runs/${encodeURIComponent(each.name)}` as string}
              className="font-medium hover:underline"
            >
              {each.name}
            </Link>
            <span className="text-xs text-muted">
              <Ago at={each.created_at} />
            </span>
            <span className="flex flex-wrap gap-1">
              {each.steps.slice(0, 12).map((step) => (
                <span key={step} className="rounded bg-sunken px-1.5 py-0.5 font-mono text-xs">
                  {step}
                </span>
              ))}
              {each.steps.length > 12 && (
                <span className="text-xs text-muted">and {count(each.steps.length - 12)} more</span>
              )}
            </span>
            <Link
              to="/p/$project/environments"
              params={{ project }}
              search={{ run: each.id, pipeline: each.pipeline }}
              className={buttonClass("quiet", true, "ml-auto")}
            >
              side by side
            </Link>
          </li>
        ))}
      </ul>
      {query.hasNextPage && (
        <div className="border-t border-line p-3 text-center">
          <Button small busy={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
            Older runs
          </Button>
        </div>
      )}
    </Card>
  );
}
