// A program for the supervisor's tests: as a service it does what its arguments say, one after the other; as a supervisor it
// runs the services of a plan. Never installed.
import Glibc
import Supervised
import Supervision

let arguments = Array(CommandLine.arguments.dropFirst())

switch arguments.first {
case "supervise":
    superviseAsTold(Array(arguments.dropFirst()))
case "unsupervised":
    // Without the first acts: what a program of somebody else's would do.
    for act in arguments.dropFirst() { perform(act) }
default:
    FirstActs.perform()
    for act in arguments { perform(act) }
}
