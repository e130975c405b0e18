// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * A kernel consumer that tries what applications cannot: kernel verbs.
 *
 * Loading it makes a connected queue pair on each device that lets kernel consumers
 * have one, posts, and says what came of it in the kernel's log, a line per fact.
 */

#include <linux/module.h>
#include <rdma/ib_verbs.h>

MODULE_AUTHOR("The pvhca project");
MODULE_DESCRIPTION("Test of pvhca's kernel verbs");
MODULE_LICENSE("Dual BSD/GPL");

#define FACT(format, ...) pr_info("pvhca_test_verbs: " format "\n", ##__VA_ARGS__)

/* In the state RESET, where nothing else can be posted. */
static void try_empty_lists(struct ib_qp *qp)
{
	const struct ib_send_wr *bad_send;
	const struct ib_recv_wr *bad_recv;
	struct ib_send_wr send = { .opcode = IB_WR_SEND };
	struct ib_recv_wr recv = {};

	FACT("empty send %d", ib_post_send(qp, NULL, &bad_send));
	FACT("empty receive %d", ib_post_recv(qp, NULL, &bad_recv));
	FACT("send %d", ib_post_send(qp, &send, &bad_send));
	FACT("receive %d", ib_post_recv(qp, &recv, &bad_recv));
}

static void try_queue_pair(struct ib_pd *pd, struct ib_cq *cq)
{
	struct ib_qp_init_attr attr = {
		.send_cq = cq,
		.recv_cq = cq,
		.cap = { .max_send_wr = 4, .max_recv_wr = 4, .max_send_sge = 1, .max_recv_sge = 1 },
		.qp_type = IB_QPT_RC,
	};
	struct ib_qp *qp = ib_create_qp(pd, &attr);

	if (IS_ERR(qp)) {
		FACT("no queue pair: %ld", PTR_ERR(qp));
		return;
	}
	try_empty_lists(qp);
	ib_destroy_qp(qp);
}

static int add_device(struct ib_device *device)
{
	struct ib_cq_init_attr attr = { .cqe = 8 };
	struct ib_pd *pd;
	struct ib_cq *cq;

	pd = ib_alloc_pd(device, 0);
	if (IS_ERR(pd))
		return PTR_ERR(pd);
	cq = ib_create_cq(device, NULL, NULL, NULL, &attr);
	if (!IS_ERR(cq)) {
		try_queue_pair(pd, cq);
		ib_destroy_cq(cq);
	}
	ib_dealloc_pd(pd);
	FACT("done");
	return 0;
}

static void remove_device(struct ib_device *device, void *data)
{
}

static struct ib_client client = {
	.name = "pvhca_test_verbs",
	.add = add_device,
	.remove = remove_device,
};

static int __init pvhca_test_verbs_init(void)
{
	return ib_register_client(&client);
}
module_init(pvhca_test_verbs_init);

static void __exit pvhca_test_verbs_exit(void)
{
	ib_unregister_client(&client);
}
module_exit(pvhca_test_verbs_exit);
