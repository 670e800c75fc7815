export function chartToolsFolder(): string;
export function installChartTools(): string | undefined;
