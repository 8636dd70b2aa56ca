import { Field } from "@/ui/form/form";
import { Input } from "@/ui/input";

/** Asks for what a person is called, and where mail reaches them. */
export function PersonFields({
  fullName,
  setFullName,
  email,
  setEmail,
  own = false,
}: {
  fullName: string;
  setFullName: (name: string) => void;
  email: string;
  setEmail: (email: string) => void;
  own?: boolean; // of whoever types: the browser may fill them in
}) {
  return (
    <>
      <Field name="full_name" label="Full name">
        {(field) => (
          <Input
            {...field}
            value={fullName}
            maxLength={320}
            autoComplete={own ? "name" : "off"}
            onChange={(event) => setFullName(event.target.value)}
          />
        )}
      </Field>
      <Field name="email" label="Address for mail">
        {(field) => (
          <Input
            {...field}
            type="email"
            value={email}
            maxLength={320}
            autoComplete={own ? "email" : "off"}
            onChange={(event) => setEmail(event.target.value)}
          />
        )}
      </Field>
    </>
  );
}
