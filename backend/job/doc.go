// Package job does what need not be done before a request is answered. What is to
// be done is noted in the transaction that makes it necessary (an outbox), so
// that neither a crash nor a full queue loses or invents work.
//
// The queue is River, in the service's own database. A job may run more than
// once, after a crash for instance, and has to come out the same. One that keeps
// failing is tried again for half a day, then kept as discarded, where `users
// jobs` shows it and can start it anew.
package job
