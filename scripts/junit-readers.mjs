// Reads JUnit as two actions of the marketplace do, with the XML parsers that they use:
// dorny/test-reporter (`java-junit`) with xml2js, mikepenz/action-junit-report with xml-js.
// Neither is on a registry, so what they make of the parsed tree is done over here, as far
// as it decides a number or a message.
//
// usage: node scripts/junit-readers.mjs NODE_MODULES FILE...
//
// Prints one line of JSON for each reader: counts over all files, and messages.
import fs from 'node:fs'
import { createRequire } from 'node:module'

const [modules, ...files] = process.argv.slice(2)
const require = createRequire(`${modules}/package.json`)
const xml2js = require('xml2js')
const xmljs = require('xml-js')

const array = value => (value === undefined ? [] : Array.isArray(value) ? value : [value])

// Nested suites are not seen, a suite without a name is an exception, and a time that is
// missing is shown as NaN; `error` is `failure`.
async function dorny(text) {
  const seen = { tests: 0, passed: 0, failed: 0, skipped: 0, flaky: 0, messages: [] }
  const { testsuites } = await xml2js.parseStringPromise(text)
  for (const suite of testsuites.testsuite ?? []) {
    if (!suite.$.name.trim()) throw new Error('a suite without a name')
    if (Number.isNaN(parseFloat(suite.$.time))) throw new Error(`suite ${suite.$.name} has no time`)
    for (const test of suite.testcase ?? []) {
      if (test.$.classname === undefined) throw new Error(`test ${test.$.name} is in the group "undefined"`)
      if (Number.isNaN(parseFloat(test.$.time))) throw new Error(`test ${test.$.name} has no time`)
      seen.tests += 1
      if (test.failure || test.error) {
        seen.failed += 1
        const first = (test.failure ?? test.error)[0]
        if (typeof first !== 'object') throw new Error(`test ${test.$.name} failed without a message`)
        seen.messages.push(`${first.$.type}: ${first.$.message}`)
      } else if (test.skipped) seen.skipped += 1
      else seen.passed += 1
    }
  }
  return seen
}

// Suites at any depth, each failure an annotation of its own, retries by `flakyFailure`.
function mikepenz(text) {
  const seen = { tests: 0, passed: 0, failed: 0, skipped: 0, flaky: 0, messages: [] }
  const suite = node => {
    for (const test of array(node.testcase)) {
      const issues = [...array(test.failure), ...array(test.error)]
      const skipped = Boolean(test.skipped) || ['disabled', 'ignored'].includes(test._attributes.status)
      seen.tests += 1
      if (issues.length > 1) throw new Error(`test ${test._attributes.name} makes ${issues.length} annotations`)
      if (skipped) seen.skipped += 1
      else if (issues.length > 0) {
        seen.failed += 1
        seen.messages.push(issues[0]._attributes.message)
        if (!test._attributes.file !== !test._attributes.line) {
          throw new Error(`test ${test._attributes.name} has a file or a line, and not both`)
        }
      } else seen.passed += 1
      if (test.flakyFailure) seen.flaky += array(test.flakyFailure).length
    }
    array(node.testsuite).forEach(suite)
  }
  suite(JSON.parse(xmljs.xml2json(text, { compact: true })).testsuites)
  return seen
}

for (const [name, read] of Object.entries({ dorny, mikepenz })) {
  const all = { reader: name, tests: 0, passed: 0, failed: 0, skipped: 0, flaky: 0, messages: [] }
  for (const file of files) {
    const seen = await read(fs.readFileSync(file, 'utf8'))
    for (const [key, value] of Object.entries(seen)) all[key] = all[key].concat?.(value) ?? all[key] + value
  }
  console.log(JSON.stringify(all))
}
