import { expect, it } from "vitest";
import { quoted, stepCommands } from "./commands";

it("quotes what a shell would take apart", () => {
  expect(quoted("churn-3/train")).toBe("churn-3/train");
  expect(quoted("churn-3/train[2]")).toBe("'churn-3/train[2]'");
  expect(quoted("it's; rm -rf $HOME `x`")).toBe(`'it'"'"'s; rm -rf $HOME \`x\`'`);
  expect(quoted("")).toBe("''");
});

it("names an item by its index", () => {
  expect(stepCommands("churn-3", "fit", 2)[0]?.[1]).toBe("tilth env checkout 'churn-3/fit[2]' churn-3-fit-2");
  expect(stepCommands("churn-3", "fit", null)[2]?.[1]).toBe("tilth env shell churn-3/fit");
});
