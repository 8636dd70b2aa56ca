/** The name of an artifact, its last part plain and what is before it pale: `PIPELINE/STEP/OUTPUT`. */
export function ArtifactName({ name }: { name: string }) {
  const at = name.lastIndexOf("/") + 1;
  return (
    <>
      {at > 0 && <span className="text-muted">{name.slice(0, at)}</span>}
      {name.slice(at)}
    </>
  );
}

/** `builtins:dict` as `dict`, `pandas.core.frame:DataFrame` as `pandas DataFrame`. */
export function typeName(type: string | undefined): string {
  const [module = "", name = ""] = (type ?? "").split(":");
  if (!name) return type ?? "";
  return ["builtins", "tilth"].includes(module) ? name : `${module.split(".")[0]} ${name}`;
}
