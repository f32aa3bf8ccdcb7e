// Runs a suite against a base URL and prints passes by kind and what did not
// pass. A test whose dependency failed is not a pass, whatever it returned.
//
//   node run.mjs SUITE BASE
import fs from 'node:fs'
import path from 'node:path'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'

const [suite, base] = process.argv.slice(2)
const load = file => import(pathToFileURL(path.join(suite, file)).href)
const newest = fs.existsSync(path.join(suite, 'test-engine'))

const suites = [...(await load('tests/index.mjs')).default]
const { runTests, getResults } = await load(newest ? 'test-engine/client/runner.mjs' : 'client/runner.mjs')
if (newest) {
  await runTests(suites, false, base)
} else {
  const fetch = createRequire(path.join(suite, 'package.json'))('node-fetch')
  await runTests(suites, fetch, false, base)
}
const results = getResults()
if (process.env.RESULTS) fs.writeFileSync(process.env.RESULTS, JSON.stringify(results, null, 1))

const tests = new Map()
for (const s of suites) for (const t of s.tests) if (t.id in results) tests.set(t.id, t)

const passed = id => {
  const test = tests.get(id)
  return test !== undefined && results[id] === true && (test.depends_on ?? []).every(passed)
}
const here = path.dirname(fileURLToPath(import.meta.url))
const reasons = new Map(fs.readFileSync(path.join(here, 'not-passed'), 'utf8').split('\n')
  .filter(line => line !== '' && !line.startsWith('#')).map(line => line.split('\t')))

const kinds = {}
const failures = []
for (const [id, test] of tests) {
  const kind = test.kind ?? 'required'
  const k = kinds[kind] ??= { passed: 0, total: 0 }
  k.total++
  if (passed(id)) k.passed++
  else if (kind !== 'check') failures.push({ kind, id, said: results[id] === true ? 'a test it depends on did not pass' : results[id].join(': ') })
}
for (const [kind, k] of Object.entries(kinds)) console.log(`${kind}: ${k.passed} of ${k.total}`)
failures.sort((a, b) => b.kind.localeCompare(a.kind) || a.id.localeCompare(b.id))
for (const f of failures) console.log(`  not passed: ${f.kind}  ${f.id}: ${reasons.get(f.id) ?? 'NOT EXPECTED'} (${f.said})`)

if (process.env.GATE) {
  for (const line of fs.readFileSync(process.env.GATE, 'utf8').trim().split('\n')) {
    const [, kind, want] = /^(.*) (\d+)$/.exec(line)
    if ((kinds[kind]?.passed ?? 0) < Number(want)) {
      console.error(`${kind}: fewer than the ${want} that passed before`)
      process.exitCode = 1
    }
  }
  const unexpected = failures.filter(f => !reasons.has(f.id)).map(f => f.id)
  if (unexpected.length > 0) {
    console.error(`not passed, and not in the list of those that cannot be: ${unexpected.join(', ')}`)
    process.exitCode = 1
  }
}
