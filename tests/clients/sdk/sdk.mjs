// The provider's own SDK makes each call once and prints what it makes of the answers, as JSON.
//
//   node sdk.mjs <directory with node_modules> <base URL>
import { createRequire } from "node:module";

const [modules, serverURL] = process.argv.slice(2);
const { Autumn } = createRequire(`${modules}/`)("autumn-js");
const autumn = new Autumn({ secretKey: "am_sk_test_sdk", serverURL });
const feature = { featureId: "executions" };

const outcome = (call) => call.catch((error) => ({ status: error.statusCode, body: JSON.parse(error.body) }));

const outcomes = {
  check: await outcome(autumn.check({ customerId: "org_1", ...feature })),
  track: await outcome(autumn.track({ customerId: "org_1", ...feature, value: 3 })),
  exhausted: await outcome(autumn.check({ customerId: "org_2", ...feature })),
  unlimited: await outcome(autumn.check({ customerId: "org_3", ...feature })),
  flag: await outcome(autumn.check({ customerId: "org_4", ...feature })),
  notInPlan: await outcome(autumn.check({ customerId: "org_5", ...feature })),
  stranger: await outcome(autumn.check({ customerId: "stranger", ...feature })),
  customer: await outcome(autumn.customers.getOrCreate({ customerId: "org_6" })),
};
console.log(JSON.stringify(outcomes));
