// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Packets of the adapter's own network interface: a QP of the driver's context, whose
 * sends and receives are IP packets (PVHCA_QPT_NET). It exists while there is a session
 * and the interface is up.
 *
 * Sends that are short stand in their entry, and only every 32nd of them has a
 * completion. All others have one, which frees the packet. One CQ takes completions of
 * both kinds; it asks for an event only when NAPI has found it empty. The queue stops
 * when it is full, and wakes when half of it is free.
 *
 * A receive is never missing: where there is no memory for a new buffer, the packet is
 * dropped and its buffer posted again. pvhcad sees what is posted without being told.
 *
 * The addresses of Ethernet mean nothing here. Packets are sent without the header, and
 * those received get one.
 */

#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "pvhca.h"

#define PVHCA_NETQ_TX	  256 /* a power of two, as the next */
#define PVHCA_NETQ_RX	  256
#define PVHCA_NETQ_SIGNAL 32
#define PVHCA_NETQ_WC	  16
/* With these, an entry of the send queue takes 256 bytes. */
#define PVHCA_NETQ_SGE	  14
#define PVHCA_NETQ_INLINE 224
/* Received packets up to this are copied, and their buffer is posted again. */
#define PVHCA_NETQ_COPY 256
/* Before the packet in a buffer: also for the header of Ethernet. */
#define PVHCA_NETQ_HEADROOM ALIGN(NET_SKB_PAD + NET_IP_ALIGN + ETH_HLEN, 16)

/* Bit of ib_wc.wr_id: a receive; the others are the place in its queue. */
#define PVHCA_NETQ_WR_RX BIT_ULL(32)

static_assert(PVHCA_NETQ_SGE <= PVHCA_NET_MAX_SGE);

/**
 * struct pvhca_netq_tx - a packet in the send queue
 * @skb: the packet; NULL: it stands in its entry
 * @dma: of its linear part, then of its fragments
 */
struct pvhca_netq_tx {
	struct sk_buff *skb;
	dma_addr_t dma[PVHCA_NETQ_SGE];
};

/**
 * struct pvhca_netq_rx - a posted receive
 * @data: buffer; NULL: there is none
 * @dma: of the place for the packet
 */
struct pvhca_netq_rx {
	void *data;
	dma_addr_t dma;
};

/**
 * struct pvhca_netq - queues of the interface
 * @dev: session
 * @netdev: the interface
 * @pd: protection domain
 * @cq: of both queues
 * @qp: the queues
 * @napi: polls @cq
 * @mtu: length of receives
 * @buf_size: bytes of a receive's buffer
 * @tx_head: next packet to be sent, free running; under netif_tx_lock()
 * @tx_tail: packets below are done; NAPI's
 * @tx: packets by place in the send queue
 * @rx: receives by number, which is their wr_id
 * @wc: room for polling; NAPI's
 */
struct pvhca_netq {
	struct pvhca_dev *dev;
	struct net_device *netdev;
	struct ib_pd *pd;
	struct ib_cq *cq;
	struct ib_qp *qp;
	struct napi_struct napi;
	u32 mtu;
	u32 buf_size;
	u32 tx_head;
	u32 tx_tail ____cacheline_aligned_in_smp;
	struct pvhca_netq_tx tx[PVHCA_NETQ_TX];
	struct pvhca_netq_rx rx[PVHCA_NETQ_RX];
	struct ib_wc wc[PVHCA_NETQ_WC];
};

static struct device *pvhca_netq_dma_device(const struct pvhca_netq *q)
{
	return pvhca_to_dma_device(q->dev);
}

/* ----------------------------------- send ---------------------------------- */

static u32 pvhca_netq_tx_room(const struct pvhca_netq *q)
{
	return PVHCA_NETQ_TX - (q->tx_head - smp_load_acquire(&q->tx_tail));
}

static void pvhca_netq_unmap(struct pvhca_netq *q, const struct pvhca_netq_tx *tx, int frags)
{
	struct device *dma_dev = pvhca_netq_dma_device(q);
	int i;

	dma_unmap_single(dma_dev, tx->dma[0], skb_headlen(tx->skb), DMA_TO_DEVICE);
	for (i = 0; i < frags; i++)
		dma_unmap_page(dma_dev, tx->dma[1 + i],
			       skb_frag_size(&skb_shinfo(tx->skb)->frags[i]), DMA_TO_DEVICE);
}

/* Map the packet of tx; returns the number of SGEs or a negative errno. */
static int pvhca_netq_map(struct pvhca_netq *q, struct pvhca_netq_tx *tx, struct ib_sge *sge)
{
	struct device *dma_dev = pvhca_netq_dma_device(q);
	struct sk_buff *skb = tx->skb;
	int i;

	tx->dma[0] = dma_map_single(dma_dev, skb->data, skb_headlen(skb), DMA_TO_DEVICE);
	if (dma_mapping_error(dma_dev, tx->dma[0]))
		return -ENOMEM;
	sge[0] = (struct ib_sge){ tx->dma[0], skb_headlen(skb), PVHCA_LKEY_DMA };
	for (i = 0; i < skb_shinfo(skb)->nr_frags; i++) {
		const skb_frag_t *frag = &skb_shinfo(skb)->frags[i];

		tx->dma[1 + i] =
			skb_frag_dma_map(dma_dev, frag, 0, skb_frag_size(frag), DMA_TO_DEVICE);
		if (dma_mapping_error(dma_dev, tx->dma[1 + i])) {
			pvhca_netq_unmap(q, tx, i);
			return -ENOMEM;
		}
		sge[1 + i] = (struct ib_sge){ tx->dma[1 + i], skb_frag_size(frag), PVHCA_LKEY_DMA };
	}
	return 1 + i;
}

/* Where the checksum is to be filled in: struct pvhca_sq_wqe.remote_qpn. */
static u32 pvhca_netq_checksum(const struct sk_buff *skb)
{
	if (skb->ip_summed != CHECKSUM_PARTIAL)
		return 0;
	return skb_checksum_start_offset(skb) | (u32)skb->csum_offset << 16;
}

/* A short packet, copied into the entry. */
static int pvhca_netq_send_inline(struct pvhca_netq *q, struct sk_buff *skb)
{
	u8 data[PVHCA_NETQ_INLINE];
	struct ib_sge sge = { .addr = (uintptr_t)data, .length = skb->len };
	struct ib_ud_wr wr = {
		.wr.wr_id = q->tx_head,
		.wr.sg_list = &sge,
		.wr.num_sge = 1,
		.wr.opcode = IB_WR_SEND,
		.wr.send_flags = IB_SEND_INLINE,
		.remote_qpn = pvhca_netq_checksum(skb),
	};
	int err;

	if (q->tx_head % PVHCA_NETQ_SIGNAL == 0)
		wr.wr.send_flags |= IB_SEND_SIGNALED;
	err = skb_copy_bits(skb, 0, data, skb->len);
	if (err)
		return err;
	q->tx[q->tx_head % PVHCA_NETQ_TX].skb = NULL;
	err = ib_post_send(q->qp, &wr.wr, NULL);
	if (!err)
		dev_consume_skb_any(skb);
	return err;
}

static int pvhca_netq_send_mapped(struct pvhca_netq *q, struct sk_buff *skb)
{
	struct pvhca_netq_tx *tx = &q->tx[q->tx_head % PVHCA_NETQ_TX];
	struct ib_sge sge[PVHCA_NETQ_SGE];
	struct ib_ud_wr wr = {
		.wr.wr_id = q->tx_head,
		.wr.sg_list = sge,
		.wr.opcode = IB_WR_SEND,
		.wr.send_flags = IB_SEND_SIGNALED,
		.remote_qpn = pvhca_netq_checksum(skb),
	};
	int err;

	if (skb_shinfo(skb)->nr_frags >= PVHCA_NETQ_SGE && skb_linearize(skb))
		return -ENOMEM;
	tx->skb = skb;
	wr.wr.num_sge = pvhca_netq_map(q, tx, sge);
	if (wr.wr.num_sge < 0)
		return wr.wr.num_sge;
	err = ib_post_send(q->qp, &wr.wr, NULL);
	if (err)
		pvhca_netq_unmap(q, tx, skb_shinfo(skb)->nr_frags);
	return err;
}

/**
 * pvhca_netq_xmit - send a packet
 * @q: queues
 * @skb: IP packet behind a header of Ethernet; it is used up
 *
 * Context: netif_tx_lock() held.
 */
void pvhca_netq_xmit(struct pvhca_netq *q, struct sk_buff *skb)
{
	struct net_device *netdev = q->netdev;
	unsigned int len;
	int err;

	skb_pull(skb, ETH_HLEN);
	len = skb->len;
	if (len <= PVHCA_NETQ_INLINE)
		err = pvhca_netq_send_inline(q, skb);
	else
		err = pvhca_netq_send_mapped(q, skb);
	if (unlikely(err)) {
		netdev->stats.tx_errors++;
		dev_kfree_skb_any(skb);
		return;
	}
	netdev->stats.tx_packets++;
	netdev->stats.tx_bytes += len;
	q->tx_head++;
	if (pvhca_netq_tx_room(q))
		return;
	netif_stop_queue(netdev);
	/* Either NAPI sees the queue stopped, or this thread sees what it has freed. */
	smp_mb__after_atomic();
	if (pvhca_netq_tx_room(q) >= PVHCA_NETQ_TX / 2)
		netif_start_queue(netdev);
}

/* The packets up to index last have been sent. */
static void pvhca_netq_sent(struct pvhca_netq *q, u32 last, int budget)
{
	struct pvhca_netq_tx *tx;
	u32 tail;

	for (tail = q->tx_tail; tail != last + 1; tail++) {
		tx = &q->tx[tail % PVHCA_NETQ_TX];
		if (!tx->skb)
			continue;
		pvhca_netq_unmap(q, tx, skb_shinfo(tx->skb)->nr_frags);
		napi_consume_skb(tx->skb, budget);
		tx->skb = NULL;
	}
	smp_store_release(&q->tx_tail, tail);
}

static void pvhca_netq_wake(struct pvhca_netq *q)
{
	/* See pvhca_netq_xmit(). */
	smp_mb();
	if (netif_queue_stopped(q->netdev) && pvhca_netq_tx_room(q) >= PVHCA_NETQ_TX / 2)
		netif_wake_queue(q->netdev);
}

/* --------------------------------- receive --------------------------------- */

static int pvhca_netq_rx_alloc(struct pvhca_netq *q, struct pvhca_netq_rx *rx)
{
	struct device *dma_dev = pvhca_netq_dma_device(q);

	rx->data = netdev_alloc_frag(q->buf_size);
	if (!rx->data)
		return -ENOMEM;
	rx->dma = dma_map_single(dma_dev, rx->data + PVHCA_NETQ_HEADROOM, q->mtu, DMA_FROM_DEVICE);
	if (!dma_mapping_error(dma_dev, rx->dma))
		return 0;
	skb_free_frag(rx->data);
	rx->data = NULL;
	return -ENOMEM;
}

static void pvhca_netq_rx_unmap(struct pvhca_netq *q, const struct pvhca_netq_rx *rx)
{
	dma_unmap_single(pvhca_netq_dma_device(q), rx->dma, q->mtu, DMA_FROM_DEVICE);
}

/**
 * struct pvhca_netq_refill - receives that are to be posted
 * @wr: chain of them
 * @sge: of each
 * @count: number of them
 */
struct pvhca_netq_refill {
	struct ib_recv_wr wr[PVHCA_NETQ_WC];
	struct ib_sge sge[PVHCA_NETQ_WC];
	unsigned int count;
};

static void pvhca_netq_refill_add(struct pvhca_netq *q, struct pvhca_netq_refill *refill, u32 i)
{
	struct ib_recv_wr *wr = &refill->wr[refill->count];
	struct ib_sge *sge = &refill->sge[refill->count];

	*sge = (struct ib_sge){ q->rx[i].dma, q->mtu, PVHCA_LKEY_DMA };
	*wr = (struct ib_recv_wr){
		.wr_id = PVHCA_NETQ_WR_RX | i,
		.sg_list = sge,
		.num_sge = 1,
	};
	if (refill->count)
		wr[-1].next = wr;
	refill->count++;
}

static void pvhca_netq_refill_post(struct pvhca_netq *q, struct pvhca_netq_refill *refill)
{
	if (refill->count)
		WARN_ON_ONCE(ib_post_recv(q->qp, refill->wr, NULL));
	refill->count = 0;
}

/* A copy of a short packet; its buffer stays. */
static struct sk_buff *pvhca_netq_copy(struct pvhca_netq *q, const struct pvhca_netq_rx *rx,
				       u32 len)
{
	struct device *dma_dev = pvhca_netq_dma_device(q);
	struct sk_buff *skb = napi_alloc_skb(&q->napi, ETH_HLEN + len);

	if (!skb)
		return NULL;
	skb_reserve(skb, ETH_HLEN);
	dma_sync_single_for_cpu(dma_dev, rx->dma, len, DMA_FROM_DEVICE);
	skb_put_data(skb, rx->data + PVHCA_NETQ_HEADROOM, len);
	dma_sync_single_for_device(dma_dev, rx->dma, len, DMA_FROM_DEVICE);
	return skb;
}

/* The packet in its buffer; the receive gets another one. */
static struct sk_buff *pvhca_netq_build(struct pvhca_netq *q, struct pvhca_netq_rx *rx, u32 len)
{
	struct pvhca_netq_rx next;
	struct sk_buff *skb;

	if (pvhca_netq_rx_alloc(q, &next))
		return NULL;
	skb = build_skb(rx->data, q->buf_size);
	if (!skb) {
		pvhca_netq_rx_unmap(q, &next);
		skb_free_frag(next.data);
		return NULL;
	}
	pvhca_netq_rx_unmap(q, rx);
	skb_reserve(skb, PVHCA_NETQ_HEADROOM);
	skb_put(skb, len);
	*rx = next;
	return skb;
}

/* Give a packet, whose first byte is that of the IP header, to the network stack. */
static void pvhca_netq_give(struct pvhca_netq *q, struct sk_buff *skb, const struct ib_wc *wc)
{
	struct net_device *netdev = q->netdev;
	bool ipv6 = *skb->data >> 4 == 6;
	struct ethhdr *eth;

	if (wc->src_qp && !skb_partial_csum_set(skb, wc->src_qp & 0xffff, wc->src_qp >> 16)) {
		netdev->stats.rx_errors++;
		dev_kfree_skb_any(skb);
		return;
	}
	eth = skb_push(skb, ETH_HLEN);
	ether_addr_copy(eth->h_dest, netdev->dev_addr);
	ether_addr_copy(eth->h_source, netdev->dev_addr);
	eth->h_proto = htons(ipv6 ? ETH_P_IPV6 : ETH_P_IP);
	skb->protocol = eth_type_trans(skb, netdev);
	if (wc->wc_flags & IB_WC_WITH_VLAN)
		__vlan_hwaccel_put_tag(skb, htons(ETH_P_8021Q), wc->vlan_id);
	netdev->stats.rx_packets++;
	netdev->stats.rx_bytes += wc->byte_len;
	napi_gro_receive(&q->napi, skb);
}

static void pvhca_netq_received(struct pvhca_netq *q, const struct ib_wc *wc)
{
	struct pvhca_netq_rx *rx = &q->rx[wc->wr_id & (PVHCA_NETQ_RX - 1)];
	struct sk_buff *skb;

	if (!wc->byte_len || wc->byte_len > q->mtu) {
		q->netdev->stats.rx_errors++;
		return;
	}
	if (wc->byte_len <= PVHCA_NETQ_COPY)
		skb = pvhca_netq_copy(q, rx, wc->byte_len);
	else
		skb = pvhca_netq_build(q, rx, wc->byte_len);
	if (!skb) {
		q->netdev->stats.rx_dropped++;
		return;
	}
	pvhca_netq_give(q, skb, wc);
}

/* ----------------------------------- NAPI ---------------------------------- */

static void pvhca_netq_failed(struct pvhca_netq *q, const struct ib_wc *wc)
{
	if (wc->status != IB_WC_WR_FLUSH_ERR)
		netdev_err(q->netdev, "packets stop: completion with %s\n",
			   ib_wc_status_msg(wc->status));
}

/* Returns the number of packets received among n completions. */
static int pvhca_netq_handle(struct pvhca_netq *q, int n, int budget)
{
	struct pvhca_netq_refill refill;
	const struct ib_wc *wc;
	int received = 0;

	refill.count = 0;
	for (wc = q->wc; wc < q->wc + n; wc++) {
		if (unlikely(wc->status != IB_WC_SUCCESS)) {
			pvhca_netq_failed(q, wc);
			continue;
		}
		if (!(wc->wr_id & PVHCA_NETQ_WR_RX)) {
			pvhca_netq_sent(q, wc->wr_id, budget);
			continue;
		}
		pvhca_netq_received(q, wc);
		pvhca_netq_refill_add(q, &refill, wc->wr_id & (PVHCA_NETQ_RX - 1));
		received++;
	}
	pvhca_netq_refill_post(q, &refill);
	return received;
}

static int pvhca_netq_poll(struct napi_struct *napi, int budget)
{
	struct pvhca_netq *q = container_of(napi, struct pvhca_netq, napi);
	int received = 0, polled = 0, n;

	/* Sends cost little, but there may be more and more of them. */
	while (received < budget && polled < 4 * budget) {
		n = ib_poll_cq(q->cq, min(PVHCA_NETQ_WC, budget - received), q->wc);
		if (n <= 0)
			break;
		polled += n;
		received += pvhca_netq_handle(q, n, budget);
	}
	pvhca_netq_wake(q);
	if (received >= budget || polled >= 4 * budget)
		return budget;
	if (napi_complete_done(napi, received) &&
	    ib_req_notify_cq(q->cq, IB_CQ_NEXT_COMP | IB_CQ_REPORT_MISSED_EVENTS) > 0)
		napi_schedule(napi);
	return received;
}

/* Of the interrupt handler, or flush_work. */
static void pvhca_netq_event(struct ib_cq *cq, void *context)
{
	struct pvhca_netq *q = context;

	napi_schedule(&q->napi);
}

/* ----------------------------- create and destroy -------------------------- */

static void pvhca_netq_free_buffers(struct pvhca_netq *q)
{
	int i;

	/* What is not freed is lost: pvhcad may still write to it. */
	if (!pvhca_dev_may_free(q->dev))
		return;
	for (i = 0; i < PVHCA_NETQ_RX && q->rx[i].data; i++) {
		pvhca_netq_rx_unmap(q, &q->rx[i]);
		skb_free_frag(q->rx[i].data);
	}
	if (q->tx_head != q->tx_tail)
		pvhca_netq_sent(q, q->tx_head - 1, 0);
}

static int pvhca_netq_fill(struct pvhca_netq *q)
{
	struct pvhca_netq_refill refill;
	int i, err;

	refill.count = 0;
	for (i = 0; i < PVHCA_NETQ_RX; i++) {
		err = pvhca_netq_rx_alloc(q, &q->rx[i]);
		if (err)
			return err;
		pvhca_netq_refill_add(q, &refill, i);
		if (refill.count == PVHCA_NETQ_WC)
			pvhca_netq_refill_post(q, &refill);
	}
	return 0;
}

/* PD, CQ and QP. */
static int pvhca_netq_make_queues(struct pvhca_netq *q)
{
	const struct ib_cq_init_attr cq_attr = { .cqe = PVHCA_NETQ_TX + PVHCA_NETQ_RX };
	struct ib_qp_init_attr attr = {
		.cap = {
			.max_send_wr = PVHCA_NETQ_TX,
			.max_recv_wr = PVHCA_NETQ_RX,
			.max_send_sge = PVHCA_NETQ_SGE,
			.max_recv_sge = 1,
			.max_inline_data = PVHCA_NETQ_INLINE,
		},
		.sq_sig_type = IB_SIGNAL_REQ_WR,
		.qp_type = IB_QPT_DRIVER,
		.port_num = PVHCA_PORT,
	};
	struct ib_device *ibdev = &q->dev->ibdev;

	q->pd = ib_alloc_pd(ibdev, 0);
	if (IS_ERR(q->pd))
		return PTR_ERR(q->pd);
	q->cq = ib_create_cq(ibdev, pvhca_netq_event, NULL, q, &cq_attr);
	if (IS_ERR(q->cq)) {
		ib_dealloc_pd(q->pd);
		return PTR_ERR(q->cq);
	}
	attr.send_cq = q->cq;
	attr.recv_cq = q->cq;
	q->qp = ib_create_qp(q->pd, &attr);
	if (IS_ERR(q->qp)) {
		ib_destroy_cq(q->cq);
		ib_dealloc_pd(q->pd);
		return PTR_ERR(q->qp);
	}
	return 0;
}

static void pvhca_netq_end_queues(struct pvhca_netq *q)
{
	ib_destroy_qp(q->qp);
	ib_destroy_cq(q->cq);
	ib_dealloc_pd(q->pd);
}

/**
 * pvhca_netq_is_offered - does pvhcad carry packets?
 * @dev: session, enabled
 */
bool pvhca_netq_is_offered(const struct pvhca_dev *dev)
{
	return (dev->features & PVHCA_FEATURE_NET) && dev->kctx;
}

/**
 * pvhca_netq_create - have packets carried
 * @dev: session, registered; it offers that
 * @netdev: interface of @dev, with the MTU that counts
 *
 * Context: process, with rtnl_lock().
 * Return: queues, which receive already, or a negative errno.
 */
struct pvhca_netq *pvhca_netq_create(struct pvhca_dev *dev, struct net_device *netdev)
{
	struct pvhca_netq *q;
	int err;

	ASSERT_RTNL();
	q = vzalloc(sizeof(*q));
	if (!q)
		return ERR_PTR(-ENOMEM);
	q->dev = dev;
	q->netdev = netdev;
	q->mtu = netdev->mtu;
	q->buf_size = SKB_DATA_ALIGN(PVHCA_NETQ_HEADROOM + q->mtu) +
		SKB_DATA_ALIGN(sizeof(struct skb_shared_info));
	netif_napi_add(netdev, &q->napi, pvhca_netq_poll);
	err = pvhca_netq_make_queues(q);
	if (err)
		goto err_free;
	err = pvhca_netq_fill(q);
	if (err)
		goto err_end;
	napi_enable(&q->napi);
	/* NAPI arms the CQ when it has looked. */
	local_bh_disable();
	napi_schedule(&q->napi);
	local_bh_enable();
	return q;

err_end:
	pvhca_netq_end_queues(q);
	pvhca_netq_free_buffers(q);
err_free:
	netif_napi_del(&q->napi);
	vfree(q);
	return ERR_PTR(err);
}

/**
 * pvhca_netq_destroy - undo it
 * @q: queues that no packet is given to any more
 *
 * Context: process, with rtnl_lock().
 */
void pvhca_netq_destroy(struct pvhca_netq *q)
{
	ASSERT_RTNL();
	napi_disable(&q->napi);
	/* No event of the CQ is handled on return. */
	pvhca_netq_end_queues(q);
	netif_napi_del(&q->napi);
	pvhca_netq_free_buffers(q);
	vfree(q);
}
