/**
 * The state of a page in its URL: ranges, filters, sorting, tabs and what is open.
 *
 * A page declares its parameters once. Values that equal the default are left out of the URL; invalid ones are dropped and
 * reported, so that the page can say so.
 */

import { useLocation, useNavigate } from "@tanstack/react-router";
import { useMemo } from "react";

/** How one parameter is read and written. `parse` gets all values of the parameter, at least one; undefined is invalid. */
export interface Parameter<T> {
  readonly fallback: T;
  readonly parse: (values: readonly string[]) => T | undefined;
  // A method, whose parameter is compared bivariantly: a page's parameters of several types fit into one record.
  render(value: T): readonly string[];
}

export type SearchSpec = Record<string, Parameter<unknown>>;
export type SearchValues<S extends SearchSpec> = { readonly [K in keyof S]: S[K]["fallback"] };

/** The longest value of a parameter that is read at all. */
const MAX_LENGTH = 400;

/** Return a parameter with one of a few values. */
export function oneOf<const T extends string>(values: readonly T[], fallback: T): Parameter<T> {
  return {
    fallback,
    parse: ([value]) => values.find((known) => known === value),
    render: (value) => (value === fallback ? [] : [value]),
  };
}

/** Return a parameter with one of a few values, or none. */
export function optionOf<const T extends string>(values: readonly T[]): Parameter<T | null> {
  return {
    fallback: null,
    parse: ([value]) => values.find((known) => known === value),
    render: (value) => (value === null ? [] : [value]),
  };
}

/** Return a parameter with any text; empty if it is missing. */
export function text(pattern: RegExp = /^[^\p{Cc}\p{Cs}]*$/u): Parameter<string> {
  return {
    fallback: "",
    parse: ([value]) =>
      value !== undefined && value.length <= MAX_LENGTH && pattern.test(value) ? value : undefined,
    render: (value) => (value === "" ? [] : [value]),
  };
}

/** Return a parameter that may be repeated, each time with a text. */
export function texts(pattern: RegExp = /^[^\p{Cc}\p{Cs}]+$/u, most = 50): Parameter<readonly string[]> {
  return {
    fallback: [],
    parse: (values) => {
      const valid = values.filter((value) => value.length <= MAX_LENGTH && pattern.test(value));
      return valid.length === values.length && valid.length <= most ? [...new Set(valid)] : undefined;
    },
    render: (values) => values,
  };
}

/** Return a parameter with a whole number within bounds. */
export function integer(fallback: number, least: number, most: number): Parameter<number> {
  return {
    fallback,
    parse: ([value]) => {
      const number = Number(value);
      return /^-?\d{1,15}$/.test(value ?? "") && number >= least && number <= most ? number : undefined;
    },
    render: (value) => (value === fallback ? [] : [String(value)]),
  };
}

/** Return a parameter that is on or off; off if it is missing. */
export function flag(): Parameter<boolean> {
  return {
    fallback: false,
    parse: ([value]) => (value === "1" ? true : value === "0" ? false : undefined),
    render: (value) => (value ? ["1"] : []),
  };
}

/** Return a parameter with an ISO 8601 time with an offset, or none. */
export function time(): Parameter<string | null> {
  const form = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})$/;
  return {
    fallback: null,
    parse: ([value]) => (value && form.test(value) && !Number.isNaN(Date.parse(value)) ? value : undefined),
    render: (value) => (value === null ? [] : [value]),
  };
}

/** Read the parameters of a page from the search of a URL; `dropped` names the invalid ones. */
export function readSearch<S extends SearchSpec>(
  spec: S,
  search: string,
): { values: SearchValues<S>; dropped: readonly string[] } {
  const given = new URLSearchParams(search);
  const dropped: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, parameter] of Object.entries(spec)) {
    const texts = given.getAll(name);
    const value = texts.length === 0 ? parameter.fallback : parameter.parse(texts);
    if (value === undefined) {
      dropped.push(name);
    }
    values[name] = value === undefined ? parameter.fallback : value;
  }
  for (const name of new Set(given.keys())) {
    if (!Object.hasOwn(spec, name)) {
      dropped.push(name);
    }
  }
  return { values: values as SearchValues<S>, dropped };
}

/** Return the search of a URL, with its question mark, for the values of a page; empty if all are defaults. */
export function writeSearch<S extends SearchSpec>(spec: S, values: Partial<SearchValues<S>>): string {
  const search = new URLSearchParams();
  for (const [name, parameter] of Object.entries(spec)) {
    const value = (values as Record<string, unknown>)[name];
    if (value !== undefined) {
      for (const rendered of parameter.render(value)) {
        search.append(name, rendered);
      }
    }
  }
  const text = search.toString();
  return text === "" ? "" : `?${text}`;
}

export interface PageSearch<S extends SearchSpec> {
  readonly values: SearchValues<S>;
  /** The names of parameters that were invalid or unknown and count for nothing. */
  readonly dropped: readonly string[];
  /** Change some values. `push` makes a new entry of the history, which Back leaves again; otherwise the entry is replaced. */
  readonly change: (patch: Partial<SearchValues<S>>, how?: "push" | "replace") => void;
  /** Return the path of this page with some values changed, for a link. */
  readonly href: (patch: Partial<SearchValues<S>>) => string;
}

/** Return the state of the page in its URL. `spec` must be a constant. */
export function usePageSearch<S extends SearchSpec>(spec: S): PageSearch<S> {
  const location = useLocation();
  const navigate = useNavigate();
  const { values, dropped } = useMemo(() => readSearch(spec, location.searchStr), [spec, location.searchStr]);
  const href = (patch: Partial<SearchValues<S>>) =>
    `${location.pathname}${writeSearch(spec, { ...values, ...patch })}`;
  return {
    values,
    dropped,
    href,
    change: (patch, how = "replace") => void navigate({ href: href(patch), replace: how === "replace" }),
  };
}
