/** All components and hooks that pages use. Nothing else imports Mantine. */

export {
  Accordion,
  ActionIcon,
  Alert,
  Anchor,
  AppShell,
  Badge,
  Box,
  Burger,
  Button,
  Center,
  Checkbox,
  Chip,
  Code,
  Collapse,
  Divider,
  Fieldset,
  Flex,
  Grid,
  Group,
  Input,
  Kbd,
  List,
  Loader,
  Menu,
  MultiSelect,
  NativeSelect,
  NumberInput,
  Paper,
  PasswordInput,
  Pill,
  Popover,
  Progress,
  Radio,
  RangeSlider,
  ScrollArea,
  SegmentedControl,
  Select,
  SimpleGrid,
  Skeleton,
  Slider,
  Stack,
  Stepper,
  Switch,
  Table,
  Tabs,
  TagsInput,
  Text,
  Textarea,
  TextInput,
  Timeline,
  Title,
  Tooltip,
  UnstyledButton,
  useComputedColorScheme,
  useMantineColorScheme,
  VisuallyHidden,
} from "@mantine/core";
export {
  useDebouncedCallback,
  useDebouncedValue,
  useDisclosure,
  useHotkeys,
  useId,
  useInterval,
  useMediaQuery,
  useReducedMotion,
} from "@mantine/hooks";
export { ActionButton } from "./action-button";
export { ChartFrame } from "./chart-frame";
export { ConfirmDialog } from "./confirm-dialog";
export { CopyButton } from "./copy-button";
export { type Column, DataTable, type Sorting } from "./data-table";
export { Drawer, Modal } from "./dialogs";
export { DownloadButton } from "./download-button";
export { EmptyState } from "./empty-state";
export { ErrorNotice } from "./error-notice";
export { LoadMore } from "./load-more";
export { LoadingSkeleton } from "./loading-skeleton";
export { Money, UsdText } from "./money";
export { notify, notifyWithUndo } from "./notify";
export { Page } from "./page";
export { PagedTable } from "./paged-table";
export { Panel } from "./panel";
export { UiProvider } from "./provider";
export { QueryState } from "./query-state";
export { RouteLink } from "./route-link";
export { Snippet } from "./snippet";
export { StatTile } from "./stat-tile";
export { StatusMark } from "./status-mark";
export { TableRegion } from "./table-region";
export type { StatusKind } from "./theme";
export { Time } from "./time";
