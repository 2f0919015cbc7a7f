// Runs a program for WASI under node: wasi.mjs PROGRAM.wasm ARGUMENT... With / as its root.
import { readFileSync } from 'node:fs';
import { WASI } from 'node:wasi';

const args = process.argv.slice(2);
const wasi = new WASI({ version: 'preview1', args, preopens: { '/': '/' } });
const module = new WebAssembly.Module(readFileSync(args[0]));
process.exit(wasi.start(new WebAssembly.Instance(module, wasi.getImportObject())));
